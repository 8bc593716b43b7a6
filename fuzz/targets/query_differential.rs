//! A client's message: we see in it what hickory-proto sees, or one of the reasons in the shared list says why not.

use super::differential::compare;

/// `data` is the message.
pub fn run(data: &[u8]) {
    compare(data);
}
