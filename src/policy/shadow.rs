//! [`Shadow`]: the candidate policy, evaluated next to the live one to find where it would decide otherwise.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use strum::VariantArray;

use super::{AllowReason, Policies, Verdict};
use crate::util::sync::lock;
use crate::wire::name::Name;
use crate::wire::query::Question;
use crate::wire::request::AnswerFlags;

/// Maximum names listed per kind of change; beyond that, lookups are only counted.
const MAX: usize = 2000;

/// What the candidate policy would change.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum ShadowChange {
    /// A lookup that is answered would be blocked.
    WouldBlock,
    /// A lookup that is blocked would be answered.
    WouldAllow,
}

/// The candidate policy, and where it differs from the live one.
pub struct Shadow {
    policies: Policies,
    lookups: [AtomicU64; ShadowChange::VARIANTS.len()],
    names: Mutex<[HashMap<Box<[u8]>, Lookups>; ShadowChange::VARIANTS.len()]>,
}

/// Lookups of one name.
#[derive(Clone, Debug)]
struct Lookups {
    count: u64,
    first: Instant,
    last: Instant,
    client: IpAddr,
}

/// A name that the candidate policy decides otherwise.
#[derive(Clone, Debug)]
pub struct ShadowDifference {
    /// The name.
    pub name: Name,
    /// What would change.
    pub change: ShadowChange,
    /// Lookups since the candidate policy was loaded; may be slightly too low under load.
    pub count: u64,
    /// Time of the first lookup.
    pub first: Instant,
    /// Time of the last lookup.
    pub last: Instant,
    /// Client of the last lookup.
    pub client: IpAddr,
}

impl Shadow {
    /// With `policies` as the candidate.
    pub fn new(policies: Policies) -> Self {
        Self { policies, lookups: Default::default(), names: Mutex::default() }
    }

    /// The candidate policy.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Records and returns the change, if the candidate policy would not decide as `verdict`.
    pub fn compare(
        &self,
        verdict: &Verdict<'_, '_>,
        client: IpAddr,
        question: &Question,
        flags: AnswerFlags,
        now: Instant,
    ) -> Option<ShadowChange> {
        let is = is_answered(verdict)?;
        let would_be = match self.policies.group(client) {
            Some(group) => {
                let verdict = self.policies.decide((client, group), question, flags, now);
                is_answered(&verdict).unwrap_or(false)
            }
            None => false,
        };
        let change = match (is, would_be) {
            (true, false) => ShadowChange::WouldBlock,
            (false, true) => ShadowChange::WouldAllow,
            _ => return None,
        };
        self.note(change, client, &question.name, now);
        Some(change)
    }

    fn note(&self, change: ShadowChange, client: IpAddr, name: &Name, now: Instant) {
        self.lookups[change as usize].fetch_add(1, Ordering::Relaxed);
        // Skip the list while another thread holds it: a query must not wait, and names that matter come again.
        let Ok(mut names) = self.names.try_lock() else { return };
        let names = &mut names[change as usize];
        if let Some(lookups) = names.get_mut(name.as_bytes()) {
            *lookups = Lookups { count: lookups.count + 1, last: now, client, ..*lookups };
        } else if names.len() < MAX {
            names.insert(name.as_bytes().into(), Lookups { count: 1, first: now, last: now, client });
        }
    }

    /// Lookups that would be decided otherwise, since the candidate policy was loaded.
    pub fn lookups(&self, change: ShadowChange) -> u64 {
        self.lookups[change as usize].load(Ordering::Relaxed)
    }

    /// Names that would be decided otherwise, most lookups first.
    pub fn differences(&self) -> Vec<ShadowDifference> {
        let names = lock(&self.names);
        let mut differences: Vec<ShadowDifference> = ShadowChange::VARIANTS
            .iter()
            .copied()
            .zip(&*names)
            .flat_map(|(change, names)| names.iter().map(move |(name, lookups)| (change, name, lookups)))
            .filter_map(|(change, name, lookups)| {
                let Lookups { count, first, last, client } = lookups.clone();
                Some(ShadowDifference { name: Name::parse(name).ok()?, change, count, first, last, client })
            })
            .collect();
        differences.sort_by_key(|difference| std::cmp::Reverse(difference.count));
        differences
    }
}

/// True if rules, mode or a local zone answer the question, false if it is blocked. `None` if a grant, a followed CNAME
/// or an allowed name below decides, or the client is refused.
fn is_answered(verdict: &Verdict<'_, '_>) -> Option<bool> {
    match verdict {
        Verdict::Allowed(_, AllowReason::Temporary(_) | AllowReason::Followed | AllowReason::Ancestor)
        | Verdict::Refused => None,
        Verdict::Allowed(..) | Verdict::Observed(..) | Verdict::Local | Verdict::MinimalAny(_) => Some(true),
        Verdict::Blocked(_) => Some(false),
    }
}
