//! [`ScriptedUpstream`]: a scripted DNS server on loopback that records every query.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::message::Message;
use super::record::Record;
use super::response::Response;
use super::script::{Choose, Script, Step};
use super::{PATIENCE, code, eventually};

/// Interval at which the UDP thread checks whether to end.
const TICK: Duration = Duration::from_millis(50);

/// The transport of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// As a datagram.
    Udp,
    /// Over a connection.
    Tcp,
}

/// A query from namegate.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Decoded, with its bytes.
    pub(crate) message: Message,
    /// Its transport.
    pub(crate) transport: Transport,
    /// Its source address.
    pub(crate) source: SocketAddr,
    /// When it arrived.
    pub(crate) at: Instant,
}

/// The server, stopped when dropped.
pub(crate) struct ScriptedUpstream {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    stopping: AtomicBool,
    deaf_to_probes: AtomicBool,
    scripts: Mutex<HashMap<String, Vec<Script>>>,
    default: Mutex<Option<Choose>>,
    received: Mutex<Vec<Received>>,
    unreadable: Mutex<Vec<Vec<u8>>>,
}

impl ScriptedUpstream {
    /// Starts on 127.0.0.1, on a port that is free for both transports.
    pub(crate) fn start() -> Self {
        Self::start_on(Ipv4Addr::LOCALHOST.into())
    }

    /// An address that nothing listens on.
    pub(crate) fn unused_address() -> SocketAddr {
        bind_both(Ipv4Addr::LOCALHOST.into()).0.local_addr().expect("a bound socket has an address")
    }

    /// Starts at an address that was [unused](Self::unused_address).
    pub(crate) fn start_at(address: SocketAddr) -> Self {
        let udp = UdpSocket::bind(address).expect("the port is still free");
        Self::serve(udp, TcpListener::bind(address).expect("the port is still free"))
    }

    /// Starts on another address.
    pub(crate) fn start_on(address: IpAddr) -> Self {
        let (udp, tcp) = bind_both(address);
        Self::serve(udp, tcp)
    }

    fn serve(udp: UdpSocket, tcp: TcpListener) -> Self {
        let address = udp.local_addr().expect("a bound socket has an address");
        udp.set_read_timeout(Some(TICK)).expect("a timeout can be set");
        let state = Arc::new(State::default());
        let (for_udp, for_tcp) = (Arc::clone(&state), Arc::clone(&state));
        thread::spawn(move || serve_udp(&udp, &for_udp));
        thread::spawn(move || serve_tcp(&tcp, &for_tcp));
        Self { address, state }
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Handles every query for `name` with `script` from now on.
    pub(crate) fn on(&self, name: &str, script: Script) {
        self.on_each(name, vec![script]);
    }

    /// Handles queries for `name` with one script after the other; the last one repeats.
    pub(crate) fn on_each(&self, name: &str, mut scripts: Vec<Script>) {
        scripts.reverse();
        self.state.scripts.lock().unwrap().insert(name.to_owned(), scripts);
    }

    /// Handles every query without its own script with `script`, instead of the usual answer.
    pub(crate) fn by_default(&self, script: Script) {
        self.by_choice(move |_| script.clone());
    }

    /// The same with a script that `choose` makes for each query.
    pub(crate) fn by_choice(&self, choose: impl Fn(&Message) -> Script + Send + Sync + 'static) {
        *self.state.default.lock().unwrap() = Some(Arc::new(choose));
    }

    /// Stops answering health probes.
    pub(crate) fn ignore_probes(&self) {
        self.state.deaf_to_probes.store(true, Ordering::Relaxed);
    }

    /// All queries so far, without health probes. Fails if namegate sent an unreadable message.
    pub(crate) fn queries(&self) -> Vec<Received> {
        let unreadable = self.state.unreadable.lock().unwrap();
        assert!(unreadable.is_empty(), "namegate sent an unreadable query: {unreadable:02x?}");
        self.state.received.lock().unwrap().clone()
    }

    /// All queries so far as `NAME TYPE`.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.queries().iter().map(|query| query.message.asked()).collect()
    }

    /// Number of queries for `name`.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.queries().iter().filter(|query| query.message.name() == name).count()
    }

    /// Waits until `count` queries for `name` have arrived.
    pub(crate) fn wait_for(&self, name: &str, count: usize) -> Vec<Received> {
        eventually(&format!("{count} upstream queries for {name}"), || {
            (self.count(name) >= count)
                .then(|| self.queries().into_iter().filter(|query| query.message.name() == name).collect())
        })
    }
}

impl Drop for ScriptedUpstream {
    fn drop(&mut self) {
        self.state.stopping.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address)); // wakes the accepting thread, which then ends
    }
}

impl State {
    /// Records the query and finds its script.
    fn receive(&self, bytes: &[u8], transport: Transport, source: SocketAddr) -> Option<(Message, Script)> {
        let at = Instant::now();
        let Some(message) = Message::parse(bytes).ok().filter(|message| message.questions.len() == 1) else {
            self.unreadable.lock().unwrap().push(bytes.to_vec());
            return None;
        };
        let deaf = self.deaf_to_probes.load(Ordering::Relaxed);
        if is_loop_probe(&message) {
            let answer = Response::negative("NXDOMAIN", Record::soa("arpa", 300, 300));
            return (!deaf).then(|| (message, Script::reply(answer)));
        }
        if message.asked() == ". NS" {
            let answer = Response::answering(&[". 518400 NS a.root-servers.example"]);
            return (!deaf).then(|| (message, Script::reply(answer)));
        }
        let script = self.script_for(&message);
        self.received.lock().unwrap().push(Received { message: message.clone(), transport, source, at });
        Some((message, script))
    }

    fn script_for(&self, query: &Message) -> Script {
        let mut scripts = self.scripts.lock().unwrap();
        let own =
            scripts.get_mut(&query.name().to_ascii_lowercase()).and_then(|scripts| match scripts.len() {
                0 | 1 => scripts.last().cloned(),
                _ => scripts.pop(),
            });
        let default = || self.default.lock().unwrap().clone().map(|choose| choose(query));
        own.or_else(default).unwrap_or_else(|| Script::reply(usual_answer(query)))
    }
}

/// True for the query by which namegate detects that its upstream forwards back to it.
pub(crate) fn is_loop_probe(query: &Message) -> bool {
    query.asked().to_ascii_lowercase().ends_with(".namegate-loop.arpa hinfo")
}

/// A and AAAA from the documentation ranges, NODATA for every other type.
fn usual_answer(query: &Message) -> Response {
    let name = query.name();
    match query.questions[0].qtype {
        1 => Response::answering(&[&format!("{name} 300 A 192.0.2.1")]),
        28 => Response::answering(&[&format!("{name} 300 AAAA 2001:db8::1")]),
        _ => Response::negative("NOERROR", Record::soa("example", 300, 300)),
    }
}

/// Sockets on a port of `address` that is free for both transports.
pub(crate) fn bind_both(address: IpAddr) -> (UdpSocket, TcpListener) {
    eventually("a port free for UDP and TCP", || {
        let udp = UdpSocket::bind((address, 0)).ok()?;
        let tcp = TcpListener::bind(udp.local_addr().ok()?).ok()?;
        Some((udp, tcp))
    })
}

fn serve_udp(socket: &UdpSocket, state: &Arc<State>) {
    let mut buffer = [0; 65_535];
    while !state.stopping.load(Ordering::Relaxed) {
        let Ok((length, source)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let Some((query, script)) = state.receive(&buffer[..length], Transport::Udp, source) else {
            continue;
        };
        let socket = socket.try_clone().expect("a socket can be cloned");
        run(script.udp, move |step| udp_step(&socket, source, &query, step));
    }
}

/// Runs the steps, on a separate thread if one of them takes time.
fn run(steps: Vec<Step>, mut step: impl FnMut(&Step) -> io::Result<()> + Send + 'static) {
    let takes_time = steps.iter().any(|step| matches!(step, Step::Wait(_)));
    // If namegate is gone or has closed its connection, that is not the upstream's fault.
    let mut all = move || drop(steps.iter().try_for_each(&mut step));
    if takes_time {
        thread::spawn(all);
    } else {
        all();
    }
}

fn udp_step(socket: &UdpSocket, client: SocketAddr, query: &Message, step: &Step) -> io::Result<()> {
    match step {
        Step::Wait(delay) => thread::sleep(*delay),
        Step::Send(render) => drop(socket.send_to(&render(query), client)?),
        Step::SendFromOtherPort(render) => {
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.send_to(&render(query), client)?;
        }
        Step::SendFromOtherAddress(render) => {
            let address = SocketAddr::new(IpAddr::from([127, 0, 0, 3]), socket.local_addr()?.port());
            UdpSocket::bind(address)?.send_to(&render(query), client)?;
        }
        Step::Announce(..) | Step::Close | Step::Reset => panic!("this step is for TCP"),
    }
    Ok(())
}

fn serve_tcp(listener: &TcpListener, state: &Arc<State>) {
    for stream in listener.incoming() {
        if state.stopping.load(Ordering::Relaxed) {
            return;
        }
        let state = Arc::clone(state);
        if let Ok(stream) = stream {
            // Ends when namegate closes the connection.
            thread::spawn(move || drop(serve_connection(&stream, &state)));
        }
    }
}

fn serve_connection(mut stream: &TcpStream, state: &State) -> io::Result<()> {
    let source = stream.peer_addr()?;
    stream.set_read_timeout(Some(PATIENCE * 6))?;
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut bytes)?;
        if let Some((query, script)) = state.receive(&bytes, Transport::Tcp, source) {
            let stream = stream.try_clone()?;
            run(script.tcp, move |step| tcp_step(&stream, &query, step));
        }
    }
}

fn tcp_step(mut stream: &TcpStream, query: &Message, step: &Step) -> io::Result<()> {
    let mut send = |length: u16, bytes: &[u8]| stream.write_all(&[&length.to_be_bytes()[..], bytes].concat());
    match step {
        Step::Wait(delay) => thread::sleep(*delay),
        Step::Send(render) => {
            let bytes = render(query);
            send(bytes.len() as u16, &bytes)?;
        }
        Step::Announce(length, render) => send(*length, &render(query))?,
        Step::Close => stream.shutdown(Shutdown::Both)?,
        Step::Reset => {
            SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
            stream.shutdown(Shutdown::Read)?;
        }
        Step::SendFromOtherPort(_) | Step::SendFromOtherAddress(_) => panic!("this step is for UDP"),
    }
    Ok(())
}

/// Asserts that an upstream query carries only the question, DO and CD, and nothing else from the client.
pub(crate) fn assert_own_query(received: &Received, client: &super::Query) {
    let mut question = client.questions[0].clone();
    let name_end = question.len() - 4;
    question[..name_end].make_ascii_lowercase();
    let wanted = super::Query {
        id: received.message.id,
        flags: code::RD | code::AD | client.flags & code::CD,
        opcode: 0,
        questions: vec![question],
        edns: Some(super::Edns {
            dnssec_ok: client.edns.as_ref().is_some_and(|edns| edns.dnssec_ok),
            ..super::Edns::of_size(1232)
        }),
        counts: None,
        tail: Vec::new(),
    };
    let (sent, wanted) = (&received.message.bytes, wanted.bytes());
    assert_eq!(sent, &wanted, "the upstream query is not namegate's own:\n{:02x?}\n{:02x?}", sent, wanted);
}
