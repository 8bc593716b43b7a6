//! Tests of limits: no client takes another's share.

mod clients;
mod fair_shares;
mod forged_clients;
mod overload;
mod rate_limit;
