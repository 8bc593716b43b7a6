//! A Corefile for CoreDNS (manual of the plugins `forward` and `template`, version 1.11).

use std::fmt::Write;

use super::fit::{Abilities, fit};
use super::{Context, Export};
use crate::policy::rule::Action::{Allow, Deny};

/// Maximum number of servers for the plugin `forward`.
const MAX_SERVERS: usize = 15;

/// A server block covers a name and everything below it, and the longest block wins. If the name and the names below it
/// differ, a template inside the block matches one of the two.
pub(super) fn write(context: &Context<'_>) -> Export {
    let mut export = Export::default();
    let ttl = context.assembly.settings.block.ttl.as_secs();
    let servers = context.upstreams(&mut export.remarks);
    let servers: Vec<String> = servers.iter().take(MAX_SERVERS).map(ToString::to_string).collect();
    let serial = context.assembly.policy().serial();
    let blocking = |names: &str| {
        format!(
            "    template ANY ANY {{\n{names}        rcode NXDOMAIN\n        authority \"{{{{ .Name }}}} {ttl} IN SOA \
             namegate.invalid. hostmaster.invalid. {serial} 3600 600 604800 {ttl}\"\n    }}\n"
        )
    };
    let mut text = context.head("#", "coredns");
    let _ = write!(
        text,
        "(ask) {{\n    forward . {}\n    cache 3600\n}}\n(block) {{\n{}}}\n. {{\n    import block\n}}\n",
        servers.join(" "),
        blocking(""),
    );
    for entry in fit(context, Abilities::ALL, &mut export.remarks).into_iter().filter(|entry| entry.matters())
    {
        let name = entry.node.name.to_string();
        // The final dot keeps a name such as `import` from being read as a directive; quotes do not.
        let _ = writeln!(text, "\"{name}.\" {{{}", entry.comment("#"));
        let literal = literal(&name);
        let only = |names: String| blocking(&format!("        match \"{names}\"\n        fallthrough\n"));
        text.push_str(&match (entry.own, entry.below) {
            (Allow, Allow) => "    import ask\n".to_owned(),
            (Deny, Deny) => "    import block\n".to_owned(),
            (Deny, Allow) => only(format!("(?i)^{literal}[.]$")) + "    import ask\n",
            (Allow, Deny) => only(format!("(?i)[.]{literal}[.]$")) + "    import ask\n",
        });
        text.push_str("}\n");
    }
    export.text = text;
    export
}

/// A Go regular expression that matches exactly this text.
fn literal(text: &str) -> String {
    text.chars().fold(String::new(), |mut pattern, c| {
        match c {
            '.' => pattern.push_str("[.]"),
            c if c.is_ascii_alphanumeric() || c == '-' || c == '_' => pattern.push(c),
            c => pattern.push_str(&format!("\\x{{{:x}}}", u32::from(c))),
        }
        pattern
    })
}
