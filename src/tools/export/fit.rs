//! [`fit`]: the nearest thing to the policy that a target can say.

use super::{Context, Remark};
use crate::assemble::effective::Node;
use crate::policy::RuleRef;
use crate::policy::rule::Action::{self, Allow, Deny};
use crate::util::escape::on_one_line;

/// What a target can say of one name beyond "it and everything below".
#[derive(Clone, Copy, Debug)]
pub(super) struct Abilities {
    /// That a name is allowed while the names below it are not.
    pub(super) name_alone: bool,
    /// That the names below a name are allowed while it is not.
    pub(super) below_alone: bool,
}

impl Abilities {
    pub(super) const ALL: Self = Self { name_alone: true, below_alone: true };
}

/// What to write for one node.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExportEntry<'a> {
    /// The name, and the rules that stand at it.
    pub(super) node: &'a Node<'a>,
    /// What becomes of the name itself.
    pub(super) own: Action,
    /// What becomes of the names below it.
    pub(super) below: Action,
    /// What would become of both without this entry.
    pub(super) inherited: Action,
    /// How often, on the way down, the inherited verdict turned into its opposite; odd where it allows.
    pub(super) turns: usize,
}

impl<'a> ExportEntry<'a> {
    /// False where the target would do the same without the entry.
    pub(super) fn matters(&self) -> bool {
        (self.own, self.below) != (self.inherited, self.inherited)
    }

    /// A rule to name as the entry's reason.
    pub(super) fn rule(&self) -> Option<RuleRef<'a>> {
        self.node.own.or(self.node.below)
    }

    /// `  ; zones/azure-ml.toml:33` and the like: where the entry comes from, as a comment.
    pub(super) fn comment(&self, mark: &str) -> String {
        self.rule().map_or_else(String::new, |rule| format!("  {mark} {}", on_one_line(&rule.place())))
    }
}

/// One entry for each node, in the tree's order. Where the target is not able to say what the rules do, the entry blocks
/// more than they do, or with `widen` allows more, but never what a rule denies; a remark tells of each.
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
    let (able, denying, more, less) = match (wanted.own, wanted.below) {
        (Allow, Deny) => (
            abilities.name_alone,
            context.effective.below(name).denying(),
            "every name below it",
            format!("`{name}` cannot be allowed without the names below it"),
        ),
        (Deny, Allow) => (
            abilities.below_alone,
            context.effective.own(name).denying(),
            "the name itself",
            format!("the names below `{name}` cannot be allowed without it"),
        ),
        _ => return wanted,
    };
    // The rule that allows stands here, or else above the rule here that denies.
    let here = [wanted.node.own, wanted.node.below].into_iter().flatten();
    let allowing = here.clone().find(|rule| rule.action() == Allow);
    match (able, denying, allowing) {
        (true, ..) => wanted,
        (false, None, Some(rule)) if context.widen => {
            remarks.push(Remark::about(rule, format!("is widened: {more} is allowed, too")));
            ExportEntry { own: Allow, below: Allow, ..wanted }
        }
        (false, _, Some(rule)) => {
            let remedy = if denying.is_none() { "; --widen allows both" } else { "" };
            remarks.push(Remark::about(rule, format!("is left out: {less}{remedy}")));
            ExportEntry { own: Deny, below: Deny, ..wanted }
        }
        (false, _, None) => {
            remarks.extend(
                here.take(1).map(|rule| Remark::about(rule, format!("blocks more than it says: {less}"))),
            );
            ExportEntry { own: Deny, below: Deny, ..wanted }
        }
    }
}
