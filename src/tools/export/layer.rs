//! [`layers`]: entries as patterns to be tried one layer after the other, for targets whose first match decides.

use super::fit::ExportEntry;
use super::{Context, Remark};
use crate::assemble::effective::Node;
use crate::policy::RuleRef;
use crate::policy::rule::{Action, Pattern, Scope};

/// A pattern and the rule it comes from.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    pub(super) pattern: Pattern,
    pub(super) rule: Option<RuleRef<'a>>,
}

/// Patterns of one action. None of them is within another that does the opposite.
#[derive(Clone, Debug)]
pub(super) struct Layer<'a> {
    pub(super) action: Action,
    pub(super) items: Vec<Item<'a>>,
}

/// The layers in the order they have to be tried: exceptions before what they are exceptions from. With `ports`, rules
/// that allow what is allowed anyway are kept, because theirs may differ.
pub(super) fn layers<'a>(entries: &[ExportEntry<'a>], ports: bool) -> Vec<Layer<'a>> {
    let mut layers: Vec<Layer<'a>> = Vec::new();
    for entry in entries {
        for item in turns(entry) {
            put(&mut layers, entry.turns, item);
        }
        if let (true, Some(layer), Action::Allow) = (ports, entry.turns.checked_sub(1), entry.inherited) {
            for item in allowed_here(entry.node) {
                put(&mut layers, layer, item);
            }
        }
    }
    layers.retain(|layer| !layer.items.is_empty());
    layers.reverse();
    layers
}

/// The patterns for which an entry turns the inherited verdict into its opposite.
fn turns<'a>(entry: &ExportEntry<'a>) -> Vec<Item<'a>> {
    let item = |scope, rule| Item { pattern: Pattern::new(scope, entry.node.name.clone()), rule };
    let (own, below) = (entry.node.own, entry.node.below);
    let of_one_rule = own.map(|rule| rule.id()) == below.map(|rule| rule.id());
    match (entry.own != entry.inherited, entry.below != entry.inherited) {
        (true, true) if of_one_rule => vec![item(Scope::Subtree, own)],
        (on, under) => {
            let name = on.then(|| item(Scope::Exact, own.or(below)));
            name.into_iter().chain(under.then(|| item(Scope::Below, below.or(own)))).collect()
        }
    }
}

/// Layers allow and deny by turns, the outermost allows.
fn put<'a>(layers: &mut Vec<Layer<'a>>, index: usize, item: Item<'a>) {
    while layers.len() <= index {
        let action = if layers.len().is_multiple_of(2) { Action::Allow } else { Action::Deny };
        layers.push(Layer { action, items: Vec::new() });
    }
    layers[index].items.push(item);
}

/// What is allowed, for targets that cannot deny: a rule for each, and those within others too, since their ports may
/// differ. A pattern with exceptions within is left out, or with `widen` kept without them; a remark tells of each.
pub(super) fn allowed_alone<'a>(context: &'a Context<'a>, remarks: &mut Vec<Remark>) -> Vec<Item<'a>> {
    let mut items: Vec<Item<'a>> = context.effective.nodes().flat_map(allowed_here).collect();
    items.retain(|item| {
        let Some(exception) = exception(context, &item.pattern) else { return true };
        let (fate, remedy) = match context.widen {
            true => ("is widened", ""),
            false => ("is left out", "; --widen allows it whole"),
        };
        let message = format!("{fate}: it cannot be allowed without `{exception}`{remedy}");
        remarks.extend(item.rule.map(|rule| Remark::about(rule, message)));
        context.widen
    });
    items.sort_by_cached_key(|item| item.pattern.to_string());
    items
}

/// What the rules at one node allow.
fn allowed_here<'a>(node: &'a Node<'a>) -> Vec<Item<'a>> {
    let allows = |rule: &RuleRef<'a>| rule.action() == Action::Allow;
    let (own, below) = (node.own.filter(allows), node.below.filter(allows));
    let item = |scope, rule| Item { pattern: Pattern::new(scope, node.name.clone()), rule: Some(rule) };
    match (own, below) {
        (Some(own), Some(below)) if own.id() == below.id() => vec![item(Scope::Subtree, own)],
        (own, below) => {
            let own = own.map(|rule| item(Scope::Exact, rule));
            own.into_iter().chain(below.map(|rule| item(Scope::Below, rule))).collect()
        }
    }
}

/// The first rule that denies some of the names of a pattern.
fn exception<'a>(context: &'a Context<'a>, pattern: &Pattern) -> Option<RuleRef<'a>> {
    let reaches_below = pattern.scope() != Scope::Exact;
    let below = reaches_below.then(|| context.effective.nodes_below(pattern.name())).into_iter().flatten();
    let rules = below.flat_map(|node| [node.own, node.below]).flatten();
    rules.into_iter().find(|rule| rule.action() == Action::Deny)
}
