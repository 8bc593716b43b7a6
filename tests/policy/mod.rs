//! Tests of the policy: verdicts on names, and the replies that explain them.

pub(crate) mod allow;
mod ancestors;
mod blocking;
mod bypass_names;
mod client_groups;
mod denial_links;
mod grants_by_client;
mod lists;
mod requests;
mod rule_life;
mod shadow;
mod tunnel_guard;
