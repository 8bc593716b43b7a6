//! [`fit`]: the closest approximation of the policy that a target can express.

use rapidhash::RapidHashMap;

use super::writable::unwritable;
use super::{Context, Remark, Target, is_of_others};
use crate::assemble::effective::Node;
use crate::hazard::{SubdomainOwner, subdomain_owner};
use crate::policy::RuleRef;
use crate::policy::rule::Action::{self, Allow, Deny};
use crate::util::escape::on_one_line;
use crate::wire::name::Name;

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
    /// Names below are allowed only because the target cannot allow the name alone.
    is_widened: bool,
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

/// One entry for each node, in tree order. If the target cannot express the rules of a node, the entry allows the
/// further names too if only their owner can create them, or with `widen`; otherwise it blocks more than the rules do. It
/// never allows a name that a rule denies, nor one of others ([`is_of_others`]) that no rule allows. A node whose name the
/// target cannot write has no entry. Each such case adds a remark.
pub(super) fn fit<'a>(
    context: &'a Context<'a>,
    abilities: Abilities,
    remarks: &mut Vec<Remark>,
) -> Vec<ExportEntry<'a>> {
    let mut entries: Vec<ExportEntry<'a>> = Vec::new();
    let mut above: Vec<ExportEntry<'a>> = Vec::new();
    let hidden = hidden_denials(context);
    for node in context.effective.nodes() {
        while above.last().is_some_and(|entry| !node.name.is_within(&entry.node.name)) {
            above.pop();
        }
        let parent = above.last();
        let (inherited, turns) = parent.map_or((Deny, 0), |parent| {
            (parent.below, parent.turns + usize::from(parent.below != parent.inherited))
        });
        if let Some(reason) = unwritable(context.target, &node.name) {
            remarks.extend(unwritten(context, node, inherited, reason));
            continue;
        }
        let is_widened = node.below.is_none() && parent.is_some_and(|parent| parent.is_widened);
        let action = |rule: Option<RuleRef<'_>>| rule.map_or(inherited, |rule| rule.action());
        let (own, below) = (action(node.own), action(node.below));
        let wanted = ExportEntry { node, own, below, inherited, turns, is_widened };
        let wanted = match is_widened && is_of_others(&node.name) {
            // No rule allows the names below, and none but its own allows the name.
            true => {
                let own = node.own.map_or(Deny, |rule| rule.action());
                ExportEntry { own, below: Deny, is_widened: false, ..wanted }
            }
            false => wanted,
        };
        let entry = match hidden.get(&node.name) {
            Some(denial) => around_hidden(context, wanted, abilities, *denial, remarks),
            None => nearest(context, wanted, abilities, remarks),
        };
        above.push(entry);
        entries.push(entry);
    }
    entries
}

/// The denials whose names the target cannot write, by the nearest name above that it can: the names below that one follow
/// its entry.
fn hidden_denials<'a>(context: &'a Context<'a>) -> RapidHashMap<Name, RuleRef<'a>> {
    let mut hidden = RapidHashMap::default();
    for node in context.effective.nodes() {
        let denial = [node.own, node.below].into_iter().flatten().find(|rule| rule.action() == Deny);
        let Some(denial) = denial.filter(|_| unwritable(context.target, &node.name).is_some()) else {
            continue;
        };
        let above = (1..node.name.labels().count())
            .filter_map(|count| Name::from_labels(node.name.labels().skip(count)).ok())
            .find(|name| unwritable(context.target, name).is_none());
        if let Some(above) = above {
            hidden.entry(above).or_insert(denial);
        }
    }
    hidden
}

/// Remarks about the allow rules of a node that the target cannot write.
fn unwritten<'a>(
    context: &Context<'_>,
    node: &Node<'a>,
    inherited: Action,
    reason: &str,
) -> impl Iterator<Item = Remark> {
    let below = node.below.filter(|rule| node.own.is_none_or(|own| own.id() != rule.id()));
    let is_lost = |rule: &RuleRef<'_>| {
        // An allowed name above covers the names, but has ports of its own.
        let has_ports = || context.target == Target::AzureFirewall && !context.ports(Some(*rule)).is_empty();
        rule.action() == Allow && (inherited == Deny || has_ports())
    };
    let lost = [node.own, below].into_iter().flatten().filter(is_lost);
    lost.map(|rule| context.blocked(rule, format!("is not exported: {reason}")))
        .collect::<Vec<_>>()
        .into_iter()
}

/// The entry for a name with a denial below it that the target cannot write: it blocks everything below the name that has
/// no entry of its own, so that the denied names do not pass.
fn around_hidden<'a>(
    context: &Context<'_>,
    wanted: ExportEntry<'a>,
    abilities: Abilities,
    denial: RuleRef<'_>,
    remarks: &mut Vec<Remark>,
) -> ExportEntry<'a> {
    let name = &wanted.node.name;
    let own = if abilities.name_alone { wanted.own } else { Deny };
    let of_name = allowing(context.effective.own(name).rule).filter(|_| own == Deny && wanted.own == Allow);
    let of_below = allowing(context.effective.below(name).rule).filter(|_| wanted.below == Allow);
    let reason = format!("this format cannot write `{denial}`, which is denied");
    if let Some(rule) = of_name {
        remarks.push(context.blocked(rule, format!("is not exported at `{name}`: {reason}")));
    }
    if let Some(rule) = of_below {
        remarks.push(context.blocked(rule, format!("is not exported below `{name}`: {reason}")));
    }
    ExportEntry { own, below: Deny, is_widened: false, ..wanted }
}

fn allowing(rule: Option<RuleRef<'_>>) -> Option<RuleRef<'_>> {
    rule.filter(|rule| rule.action() == Allow)
}

fn nearest<'a>(
    context: &Context<'_>,
    wanted: ExportEntry<'a>,
    abilities: Abilities,
    remarks: &mut Vec<Remark>,
) -> ExportEntry<'a> {
    let name = &wanted.node.name;
    let widened = ExportEntry { own: Allow, below: Allow, is_widened: wanted.below == Deny, ..wanted };
    let narrowed = ExportEntry { own: Deny, below: Deny, ..wanted };
    let (is_able, denying, inability, owner) = match (wanted.own, wanted.below) {
        (Allow, Deny) => (
            abilities.name_alone,
            context.effective.below(name).denying(),
            format!("this format cannot allow `{name}` without its subdomains"),
            subdomain_owner(name),
        ),
        (Deny, Allow) => (
            abilities.below_alone,
            context.effective.own(name).denying(),
            format!("this format cannot allow the subdomains of `{name}` without `{name}`"),
            // The name is a suffix, which its owner alone holds.
            SubdomainOwner::Same(Vec::new()),
        ),
        _ => return wanted,
    };
    if is_able {
        return wanted;
    }
    let (added, lost) = match wanted.own {
        Allow => ("its subdomains".to_owned(), format!("`{name}`")),
        Deny => (format!("`{name}`"), "its subdomains".to_owned()),
    };
    // The allowing rule is at this node, or above the denying rule of this node.
    let here = [wanted.node.own, wanted.node.below].into_iter().flatten();
    let Some(rule) = here.clone().find(|rule| rule.action() == Allow) else {
        let remark = |rule| Remark::about(rule, format!("also blocks {lost}: {inability}"));
        remarks.extend(here.take(1).map(remark));
        return narrowed;
    };
    match (denying, owner) {
        (Some(_), _) => {
            remarks.push(context.blocked(rule, format!("is not exported: {inability}")));
            narrowed
        }
        (None, SubdomainOwner::Same(except)) => {
            let except: Vec<String> = except.iter().map(|suffix| format!("`{suffix}`")).collect();
            let reason = match (wanted.own, except.is_empty()) {
                (Allow, true) => ", which belong to the same owner".to_owned(),
                (Allow, false) => {
                    format!(", which belong to the same owner, except below {}", except.join(" and "))
                }
                (Deny, _) => String::new(),
            };
            remarks.push(Remark::about(rule, format!("is widened: it also allows {added}{reason}")));
            widened
        }
        (None, SubdomainOwner::Anyone(_)) if context.options.widen => {
            remarks.push(Remark::about(rule, format!("is widened: it also allows {added}")));
            widened
        }
        (None, SubdomainOwner::Anyone(what)) => {
            let message = format!(
                "is not exported: {inability}, where anyone can create names ({what}); use --widen to allow both"
            );
            remarks.push(context.blocked(rule, message));
            narrowed
        }
    }
}
