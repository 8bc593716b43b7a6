//! [`layers`]: entries as ordered layers of patterns, for targets where the first match wins.

use super::fit::ExportEntry;
use super::writable::unwritable;
use super::{Context, Remark};
use crate::assemble::effective::Node;
use crate::policy::RuleRef;
use crate::policy::rule::{Action, Pattern, Scope};

/// A pattern and its rule.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    pub(super) pattern: Pattern,
    pub(super) rule: Option<RuleRef<'a>>,
}

/// Patterns with the same action. No layer mixes a pattern with its exceptions.
#[derive(Clone, Debug)]
pub(super) struct Layer<'a> {
    pub(super) action: Action,
    pub(super) items: Vec<Item<'a>>,
}

/// The layers in match order: exceptions come before the patterns they narrow. With `ports`, redundant allow rules are
/// included, because their ports may differ.
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

/// The patterns whose inherited action the entry changes.
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

/// Layers alternate between allow and deny; the outermost allows.
fn put<'a>(layers: &mut Vec<Layer<'a>>, index: usize, item: Item<'a>) {
    while layers.len() <= index {
        let action = if layers.len().is_multiple_of(2) { Action::Allow } else { Action::Deny };
        layers.push(Layer { action, items: Vec::new() });
    }
    layers[index].items.push(item);
}

/// The allowed patterns, for targets that cannot deny. Patterns within others are included, because their ports may
/// differ. A name that the target cannot write is not exported. A pattern with exceptions is not exported; with `widen` it is included and its exceptions are dropped. Each
/// such case adds a remark.
pub(super) fn allowed_alone<'a>(context: &'a Context<'a>, remarks: &mut Vec<Remark>) -> Vec<Item<'a>> {
    let mut items: Vec<Item<'a>> = context.effective.nodes().flat_map(allowed_here).collect();
    items.retain(|item| {
        if let Some(reason) = unwritable(context.target, item.pattern.name()) {
            remarks.extend(item.rule.map(|rule| context.blocked(rule, format!("is not exported: {reason}"))));
            return false;
        }
        let Some(exception) = exception(context, &item.pattern) else { return true };
        let (fate, remedy) = match context.options.widen {
            true => ("is widened", String::new()),
            false => {
                ("is not exported", format!("; use --widen to export it, which also allows `{exception}`"))
            }
        };
        let message = format!("{fate}: this format has no deny rule for `{exception}`{remedy}");
        remarks.extend(item.rule.map(|rule| match context.options.widen {
            true => Remark::about(rule, message),
            false => context.blocked(rule, message),
        }));
        context.options.widen
    });
    items.sort_by_cached_key(|item| item.pattern.to_string());
    items
}

/// The patterns that the rules at one node allow.
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

/// The first rule that denies some of the names within a pattern.
fn exception<'a>(context: &'a Context<'a>, pattern: &Pattern) -> Option<RuleRef<'a>> {
    let reaches_below = pattern.scope() != Scope::Exact;
    let below = reaches_below.then(|| context.effective.nodes_below(pattern.name())).into_iter().flatten();
    let rules = below.flat_map(|node| [node.own, node.below]).flatten();
    rules.into_iter().find(|rule| rule.action() == Action::Deny)
}
