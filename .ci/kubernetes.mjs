// Reads resources of the Prometheus operator as JSON, and prints what the operator's published schema says against them.
// The argument is the file of the schema's package.
import { readFileSync } from "node:fs";

const models = await import(process.argv[2]);
const errors = [];
for (const resource of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    new models[resource.kind](resource).validate();
  } catch (error) {
    errors.push(`${resource.kind}: ${error.message}`);
  }
}
console.log(JSON.stringify(errors));
