// Reads {tables: {NAME: columns}, kql: {NAME: text}, logql: {NAME: text}} on standard input, and prints for each text its errors and, for
// KQL, the columns of its result. Microsoft's language service knows the columns of the tables; Grafana's grammar reads LogQL.
"use strict";

require("@kusto/language-service-next/bridge.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.js");
const { parser } = require("@grafana/lezer-logql");

const { KustoCode, GlobalState, Symbols } = Kusto.Language;
const list = (items) => Array.from({ length: items.Count }, (_, at) => items.getItem(at));

const { tables, kql, logql } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const symbols = Object.entries(tables).map(([name, columns]) => Symbols.TableSymbol.From(`(${columns})`).WithName(name));
const globals = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.ctor("workspace", symbols));

const readKql = (text) => {
    const code = KustoCode.ParseAndAnalyze(text, globals);
    const near = ({ Message, Start }) => `${Message} at ${JSON.stringify(text.slice(Start, Start + 30))}`;
    const columns = code.ResultType?.Columns ? list(code.ResultType.Columns) : [];
    return {
        errors: list(code.GetDiagnostics()).filter(({ Severity }) => Severity === "Error").map(near),
        columns: Object.fromEntries(columns.map(({ Name, Type }) => [Name, Type.Name])),
    };
};

const readLogql = (text) => {
    const errors = [];
    parser.parse(text).iterate({
        enter: ({ type, from }) => void (type.isError && errors.push(`syntax error at ${JSON.stringify(text.slice(from, from + 30))}`)),
    });
    return { errors };
};

const all = (texts, read) => Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, read(text)]));
process.stdout.write(JSON.stringify({ kql: all(kql, readKql), logql: all(logql, readLogql) }));
