//! The offline tools behind the commands. No tool uses another.

pub mod advise;
pub mod diff;
pub mod export;
pub mod import;
pub mod init;
pub mod learn;
pub mod prove;
