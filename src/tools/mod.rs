//! The offline tools behind the commands. No tool uses another, but `audit` uses `advise`.

pub mod advise;
pub mod audit;
pub mod bundle;
pub mod diff;
pub mod export;
pub mod import;
pub mod init;
pub mod learn;
pub mod prove;
