//! Compares our parser of client messages with hickory-proto: both agree, or a reason in the shared list explains why
//! not.

use super::differential::compare;

/// `data` is the message.
pub fn run(data: &[u8]) {
    compare(data);
}
