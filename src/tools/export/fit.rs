//! [`fit`]: the closest approximation of the policy that a target can express.

use super::{Context, Remark};
use crate::assemble::effective::Node;
use crate::policy::RuleRef;
use crate::policy::rule::Action::{self, Allow, Deny};
use crate::util::escape::on_one_line;

/// What a target can express about one name, beyond "the name and everything below it".
#[derive(Clone, Copy, Debug)]
pub(super) struct Abilities {
    /// Allow a name and block the names below it.
    pub(super) name_alone: bool,
    /// Block a name and allow the names below it.
    pub(super) below_alone: bool,
}

impl Abilities {
    pub(super) const ALL: Self = Self { name_alone: true, below_alone: true };
}

/// What to write for one node.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExportEntry<'a> {
    /// The name and its rules.
    pub(super) node: &'a Node<'a>,
    /// The action for the name itself.
    pub(super) own: Action,
    /// The action for the names below it.
    pub(super) below: Action,
    /// The action for both without this entry.
    pub(super) inherited: Action,
    /// How often the inherited action changed between the root and here; odd if it is Allow.
    pub(super) turns: usize,
}

impl<'a> ExportEntry<'a> {
    /// False if the target would act the same without the entry.
    pub(super) fn matters(&self) -> bool {
        (self.own, self.below) != (self.inherited, self.inherited)
    }

    /// The rule that the entry comes from.
    pub(super) fn rule(&self) -> Option<RuleRef<'a>> {
        self.node.own.or(self.node.below)
    }

    /// The source of the entry as a comment, such as `  ; zones/azure-ml.toml:33`.
    pub(super) fn comment(&self, mark: &str) -> String {
        self.rule().map_or_else(String::new, |rule| format!("  {mark} {}", on_one_line(&rule.place())))
    }
}

/// One entry for each node, in tree order. If the target cannot express the rules of a node, the entry blocks more than
/// they do. With `widen` it allows more instead, but never a name that a rule denies. Each such case adds a remark.
pub(super) fn fit<'a>(
    context: &'a Context<'a>,
    abilities: Abilities,
    remarks: &mut Vec<Remark>,
) -> Vec<ExportEntry<'a>> {
    let mut entries: Vec<ExportEntry<'a>> = Vec::new();
    let mut above: Vec<ExportEntry<'a>> = Vec::new();
    for node in context.effective.nodes() {
        while above.last().is_some_and(|entry| !node.name.is_within(&entry.node.name)) {
            above.pop();
        }
        let (inherited, turns) = above.last().map_or((Deny, 0), |parent| {
            (parent.below, parent.turns + usize::from(parent.below != parent.inherited))
        });
        let action = |rule: Option<RuleRef<'_>>| rule.map_or(inherited, |rule| rule.action());
        let wanted = ExportEntry { node, own: action(node.own), below: action(node.below), inherited, turns };
        let entry = nearest(context, wanted, abilities, remarks);
        above.push(entry);
        entries.push(entry);
    }
    entries
}

fn nearest<'a>(
    context: &Context<'_>,
    wanted: ExportEntry<'a>,
    abilities: Abilities,
    remarks: &mut Vec<Remark>,
) -> ExportEntry<'a> {
    let name = &wanted.node.name;
    let (own, below) = (format!("`{name}`"), "its subdomains".to_owned());
    let (able, denying, inability, (allowed, denied)) = match (wanted.own, wanted.below) {
        (Allow, Deny) => (
            abilities.name_alone,
            context.effective.below(name).denying(),
            format!("this format cannot allow `{name}` without its subdomains"),
            (own, below),
        ),
        (Deny, Allow) => (
            abilities.below_alone,
            context.effective.own(name).denying(),
            format!("this format cannot allow the subdomains of `{name}` without `{name}`"),
            (below, own),
        ),
        _ => return wanted,
    };
    // The allowing rule is at this node, or above the denying rule of this node.
    let here = [wanted.node.own, wanted.node.below].into_iter().flatten();
    let allowing = here.clone().find(|rule| rule.action() == Allow);
    match (able, denying, allowing) {
        (true, ..) => wanted,
        (false, None, Some(rule)) if context.widen => {
            remarks.push(Remark::about(rule, format!("is widened: it also allows {denied}")));
            ExportEntry { own: Allow, below: Allow, ..wanted }
        }
        (false, _, Some(rule)) => {
            let remedy = if denying.is_none() { "; use --widen to allow both" } else { "" };
            remarks.push(Remark::about(rule, format!("is not exported: {inability}{remedy}")));
            ExportEntry { own: Deny, below: Deny, ..wanted }
        }
        (false, _, None) => {
            remarks.extend(
                here.take(1).map(|rule| Remark::about(rule, format!("also blocks {allowed}: {inability}"))),
            );
            ExportEntry { own: Deny, below: Deny, ..wanted }
        }
    }
}
