//! Where the CNAME chains of allowed names lead, for targets that check every name of a chain.

use super::discover::Undiscovered;
use super::writable::unwritable;
use super::{Context, Remark};
use crate::allowlist::KnownAlias;
use crate::assemble::effective::Effective;
use crate::hazard::{
    DomainStanding, SubdomainOwner, public_resolver, public_resolvers, shared_suffix, standing,
    subdomain_owner, tunnel,
};
use crate::policy::bypass::BypassName;
use crate::policy::rule::{Action, Pattern, Scope};
use crate::wire::name::Name;

/// The names that the chains of allowed names lead to and that no rule allows, from the allowlists' `[[alias]]` and from
/// a server's answers. The target covers all names below each of them too, so their owner must hold all of those.
pub(super) fn alias_targets(context: &Context<'_>, remarks: &mut Vec<Remark>) -> Vec<Name> {
    let mut targets: Vec<Name> = Vec::new();
    for zone in &context.assembly.zones {
        let used =
            |alias: &&KnownAlias| alias.patterns.iter().any(|host| allows_any(&context.effective, host));
        for alias in zone.aliases.iter().filter(used) {
            let place = format!("{}:{}", zone.file, alias.line);
            for target in &alias.to {
                match refusal(context, target) {
                    Ok(()) => targets.push(target.name().clone()),
                    Err(Refusal::Allowed) => {}
                    Err(Refusal::Because(reason)) => remarks.push(Remark {
                        place: place.clone(),
                        ..Remark::general(format!(
                            "alias target `{target}` of `{}` is not added: {reason}",
                            alias.host
                        ))
                    }),
                }
            }
        }
    }
    for discovery in &context.options.discovered {
        let name = &discovery.name;
        match &discovery.chain {
            Err(reason) => remarks.push(Remark::general(undiscovered(name, reason))),
            Ok(chain) => {
                for target in chain {
                    match refusal(context, &Pattern::new(Scope::Exact, target.clone())) {
                        Ok(()) => targets.push(target.clone()),
                        Err(Refusal::Allowed) => {}
                        Err(Refusal::Because(reason)) => {
                            let message =
                                format!("alias target `{target}` of `{name}` is not added: {reason}");
                            remarks.push(Remark::general(message));
                        }
                    }
                }
            }
        }
    }
    targets.sort_by_cached_key(ToString::to_string);
    targets.dedup();
    // A target below another one is covered by it.
    let is_covered = |name: &Name| targets.iter().any(|other| other != name && name.is_within(other));
    let kept: Vec<Name> = targets.iter().filter(|name| !is_covered(name)).cloned().collect();
    remarks.extend(kept.iter().filter_map(|name| {
        let what = match subdomain_owner(name) {
            SubdomainOwner::Same(others) if others.is_empty() => return None,
            SubdomainOwner::Same(_) => "also below suffixes of others".to_owned(),
            SubdomainOwner::Anyone(what) => what.to_owned(),
        };
        Some(Remark::general(format!(
            "alias target `{name}` is added with the names below it, where anyone can create names ({what})"
        )))
    }));
    kept
}

fn undiscovered(name: &Name, reason: &Undiscovered) -> String {
    format!("the alias targets of `{name}` are unknown: {reason}")
}

/// Why a target is not added.
enum Refusal {
    /// The rules allow it already.
    Allowed,
    /// For a reason that the user must know.
    Because(String),
}

fn refusal(context: &Context<'_>, target: &Pattern) -> Result<(), Refusal> {
    let name = target.name();
    let effective = &context.effective;
    let (own, below) = (effective.own(name), effective.below(name));
    let because = |reason: String| Err(Refusal::Because(reason));
    let is_allowed = match target.scope() {
        Scope::Exact => own.action == Action::Allow,
        Scope::Below | Scope::Subtree => below.action == Action::Allow,
    };
    if is_allowed {
        return Err(Refusal::Allowed);
    }
    let denying = [own, below].into_iter().find_map(|said| said.denying());
    let below = effective.nodes_below(name).flat_map(|node| [node.own, node.below]).flatten();
    if let Some(rule) = denying.or_else(|| below.into_iter().find(|rule| rule.action() == Action::Deny)) {
        return because(format!("`{rule}` denies it ({})", rule.place()));
    }
    if let Some(reason) = unwritable(context.target, name) {
        return because(reason.to_owned());
    }
    if let Some(operator) = public_resolver(name) {
        return because(format!("it is a public resolver ({operator})"));
    }
    if let Some((host, _)) = public_resolvers().find(|(host, _)| host.is_within(name)) {
        return because(format!("the public resolver `{host}` is below it"));
    }
    if let Some((suffix, _)) = tunnel(name, true) {
        return because(format!("anyone can create tunnels below `{suffix}`"));
    }
    let is_bypass =
        |(_, pattern): &(_, &Pattern)| name.is_within(pattern.name()) || pattern.name().is_within(name);
    if let Some((_, pattern)) = BypassName::all().find(is_bypass) {
        return because(format!("clients query `{}` to find another resolver", pattern.name()));
    }
    if standing(name) == DomainStanding::Registry {
        return because("anyone can register domains below it".to_owned());
    }
    match subdomain_owner(name) {
        SubdomainOwner::Same(others) if others.is_empty() => Ok(()),
        _ if context.options.widen => Ok(()),
        // One customer's name. Without it Azure blocks the sign-in, whose chain leads through Traffic Manager.
        SubdomainOwner::Anyone(_) if target.scope() == Scope::Exact && is_one_customers(name) => Ok(()),
        SubdomainOwner::Same(others) => {
            let others: Vec<String> = others.iter().map(|other| format!("`{other}`")).collect();
            because(format!("anyone can create names below {}; use --widen to add it", others.join(" and ")))
        }
        SubdomainOwner::Anyone(what) => {
            because(format!("anyone can create names below it ({what}); use --widen to add it"))
        }
    }
}

/// True if the name is below a shared suffix, and not the suffix or a name above it.
fn is_one_customers(name: &Name) -> bool {
    shared_suffix(name).is_some_and(|(suffix, _)| name.to_string() != suffix)
}

/// True if the rules allow a name that `host` covers.
fn allows_any(effective: &Effective<'_>, host: &Pattern) -> bool {
    let name = host.name();
    let own = host.scope() != Scope::Below && effective.own(name).action == Action::Allow;
    let below = || {
        effective.below(name).action == Action::Allow
            || effective
                .nodes_below(name)
                .flat_map(|node| [node.own, node.below])
                .flatten()
                .any(|rule| rule.action() == Action::Allow)
    };
    own || host.scope() != Scope::Exact && below()
}
