//! Sends queries at a steady rate, whether or not earlier ones are answered.

use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::client::UdpClient;
use super::message::Message;
use super::query::Query;
use super::truth::{Outcome, judge};

/// A query and its result.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The name.
    pub(crate) name: String,
    /// When it was sent.
    pub(crate) at: Instant,
    /// The reply, and when it came.
    pub(crate) reply: Option<(Message, Instant)>,
}

impl Asked {
    /// Its outcome for the client.
    pub(crate) fn outcome(&self) -> Outcome {
        judge(&self.name, self.reply.as_ref().map(|(reply, _)| reply))
    }

    /// How long the reply took.
    pub(crate) fn took(&self) -> Option<Duration> {
        self.reply.as_ref().map(|(_, at)| *at - self.at)
    }
}

/// Lets `client` query the address of each of `names` (65,536 at most), `rate` per second, and calls `before` with each
/// index. Fails if a query has more than one reply.
pub(crate) fn ask_all(
    client: &UdpClient,
    names: Vec<String>,
    rate: u32,
    mut before: impl FnMut(usize),
) -> Vec<Asked> {
    assert!(names.len() <= 1 << 16, "one id per query");
    let count = names.len();
    scope(|scope| {
        let receiving = scope.spawn(|| receive(client, count));
        let start = Instant::now();
        let asked: Vec<(String, Instant)> = names
            .into_iter()
            .enumerate()
            .map(|(index, name)| {
                before(index);
                sleep((start + Duration::from_secs(1) / rate * index as u32) - Instant::now());
                let query = Query { id: index as u16, ..Query::new(&name, "A") }.edns();
                client.send(&query.bytes());
                (name, Instant::now())
            })
            .collect();
        let replies = receiving.join().expect("the replies are well-formed");
        let asked = asked.into_iter().zip(replies);
        asked.map(|((name, at), reply)| Asked { name, at, reply }).collect()
    })
}

fn receive(client: &UdpClient, count: usize) -> Vec<Option<(Message, Instant)>> {
    let mut replies = vec![None; count];
    let mut missing = count;
    while missing > 0 {
        let Some(bytes) = client.receive_within(PATIENCE) else { break };
        let message = Message::expect(&bytes);
        let place = &mut replies[usize::from(message.id)];
        assert!(place.is_none(), "a second reply: {message:?}");
        *place = Some((message, Instant::now()));
        missing -= 1;
    }
    replies
}

/// Number of queries whose outcome satisfies `wanted`.
pub(crate) fn count(asked: &[Asked], wanted: impl Fn(&Outcome) -> bool) -> usize {
    asked.iter().filter(|asked| wanted(&asked.outcome())).count()
}

/// Fails if a reply is wrong.
#[track_caller]
pub(crate) fn expect_none_wrong(asked: &[Asked]) {
    let wrong: Vec<Outcome> =
        asked.iter().map(Asked::outcome).filter(|outcome| matches!(outcome, Outcome::Wrong(_))).collect();
    assert!(wrong.is_empty(), "{} of {} replies are wrong: {:?}", wrong.len(), asked.len(), wrong.first());
}
