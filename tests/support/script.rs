//! [`Script`]: how the upstream handles one query, step by step, on either transport.

use std::sync::Arc;
use std::time::Duration;

use super::code;
use super::message::Message;
use super::response::Response;

/// Makes a reply's bytes from the query.
pub(crate) type Render = Arc<dyn Fn(&Message) -> Vec<u8> + Send + Sync>;

/// Makes a script for a query.
pub(crate) type Choose = Arc<dyn Fn(&Message) -> Script + Send + Sync>;

/// One thing the upstream does.
#[derive(Clone)]
pub(crate) enum Step {
    /// Waits.
    Wait(Duration),
    /// Replies.
    Send(Render),
    /// UDP: replies from another port of the upstream's address.
    SendFromOtherPort(Render),
    /// UDP: replies from the upstream's port at another address.
    SendFromOtherAddress(Render),
    /// TCP: announces this length, but sends only these bytes.
    Announce(u16, Render),
    /// TCP: closes the connection.
    Close,
    /// TCP: resets the connection by closing it with unsent data.
    Reset,
}

impl Step {
    /// Replies with `response`.
    pub(crate) fn reply(response: Response) -> Self {
        Self::Send(Arc::new(move |query| response.render(query)))
    }

    /// Replies with these bytes.
    pub(crate) fn bytes(bytes: &[u8]) -> Self {
        let bytes = bytes.to_vec();
        Self::Send(Arc::new(move |_| bytes.clone()))
    }

    /// Replies with `response` after `change` has edited its bytes.
    pub(crate) fn changed(response: Response, change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Self {
        Self::Send(changed(response, change))
    }

    /// Replies with a wrong id.
    pub(crate) fn wrong_id(response: Response) -> Self {
        Self::changed(response, |bytes| bytes[0] ^= 0x55)
    }

    /// Replies to a question for another name of the same length.
    pub(crate) fn wrong_name(response: Response) -> Self {
        Self::changed(response, |bytes| bytes[13] ^= 0x01)
    }

    /// Replies from another port.
    pub(crate) fn from_other_port(response: Response) -> Self {
        Self::SendFromOtherPort(changed(response, |_| ()))
    }

    /// Replies from another address.
    pub(crate) fn from_other_address(response: Response) -> Self {
        Self::SendFromOtherAddress(changed(response, |_| ()))
    }
}

/// `response`, rendered and then changed.
pub(crate) fn changed(response: Response, change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Render {
    Arc::new(move |query| {
        let mut bytes = response.render(query);
        change(&mut bytes);
        bytes
    })
}

/// What happens to a query over UDP and over TCP.
#[derive(Clone, Default)]
pub(crate) struct Script {
    /// Over UDP.
    pub(crate) udp: Vec<Step>,
    /// Over TCP.
    pub(crate) tcp: Vec<Step>,
}

impl Script {
    /// The same steps on both transports.
    pub(crate) fn steps(steps: Vec<Step>) -> Self {
        Self { udp: steps.clone(), tcp: steps }
    }

    /// One reply.
    pub(crate) fn reply(response: Response) -> Self {
        Self::steps(vec![Step::reply(response)])
    }

    /// No reply, ever.
    pub(crate) fn silent() -> Self {
        Self::default()
    }

    /// One delayed reply.
    pub(crate) fn late(delay: Duration, response: Response) -> Self {
        Self::steps(vec![Step::Wait(delay), Step::reply(response)])
    }

    /// TC without records over UDP, the whole reply over TCP.
    pub(crate) fn truncated_then_tcp(response: Response) -> Self {
        Self { tcp: vec![Step::reply(response)], ..Self::truncated() }
    }

    /// TC over UDP, silence over TCP.
    pub(crate) fn truncated() -> Self {
        Self { udp: vec![Step::reply(Response::default().flags(code::TC))], tcp: Vec::new() }
    }

    /// TC over UDP, `steps` over TCP.
    pub(crate) fn truncated_then(steps: Vec<Step>) -> Self {
        Self { tcp: steps, ..Self::truncated() }
    }
}
