//! A network with a delay, between a client and a server of this machine.
//!
//! Invariant: each byte is delivered the delay after it was sent and never earlier, in order, and as
//! many as come; so a round trip costs twice the delay, and throughput is not limited by it. Only the
//! connection itself costs nothing: it is made on both sides at once.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A proxy at a loopback port. Dropped, it closes its connections, and its threads have ended.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// Where bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// What came at once.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    pub from: Side,
    pub bytes: usize,
    /// When it came, before the delay.
    pub time: Instant,
    /// Of how many round trips it is part, or is the answer to: see [`Proxy::round_trips`].
    pub round_trip: u32,
}

#[derive(Debug)]
struct Shared {
    target: u16,
    delay: Duration,
    state: Mutex<State>,
    changed: Condvar,
    is_ending: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    connections: Vec<Connection>,
    threads: Vec<JoinHandle<()>>,
    is_frozen: bool,
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: TcpStream,
    is_cut: bool,
    chunks: Vec<Chunk>,
    /// The last round trip whose bytes the server has, and of whose answer the client has some.
    delivered: [u32; 2],
}

impl Proxy {
    /// Starts one in front of a port of 127.0.0.1.
    pub fn start(target_port: u16, delay: Duration) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared {
            target: target_port,
            delay,
            state: Mutex::default(),
            changed: Condvar::new(),
            is_ending: AtomicBool::new(false),
        });
        let for_acceptor = Arc::clone(&shared);
        let acceptor = Some(thread::spawn(move || for_acceptor.accept(&listener)));
        Proxy { port, shared, acceptor }
    }

    /// Where it listens, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many round trips there have been, over all connections one after the other.
    ///
    /// Counted is what may have waited for what, not how the bytes were cut or how long anything took. A
    /// chunk of the client belongs to the first round trip if the client had nothing but the server's
    /// opening words when it sent it, else to the one after the last of whose answer it had something.
    /// A chunk of the server answers the last round trip of which the server had something. The count is
    /// that of the last round trip with an answer: the length of the longest chain of client and server
    /// waiting for each other. What one side sends on its own, in however many chunks, counts nothing.
    ///
    /// A busy machine can only add to it, where somebody sends so late, though he did not need to wait,
    /// that he might have; with a delay that is long beside such hesitation the least of some runs is
    /// exact.
    pub fn round_trips(&self) -> u32 {
        let state = self.shared.lock();
        let last = |connection: &Connection| {
            let answers = connection.chunks.iter().filter(|chunk| chunk.from == Side::Server);
            answers.map(|chunk| chunk.round_trip).max().unwrap_or(0)
        };
        state.connections.iter().map(last).sum()
    }

    /// All that has come, by connection.
    pub fn chunks(&self) -> Vec<Vec<Chunk>> {
        self.shared.lock().connections.iter().map(|it| it.chunks.clone()).collect()
    }

    /// How many bytes have come from a side, over all connections.
    pub fn bytes(&self, from: Side) -> usize {
        let chunks = self.chunks().into_iter().flatten();
        chunks.filter(|chunk| chunk.from == from).map(|chunk| chunk.bytes).sum()
    }

    /// Closes all connections, towards both sides. New ones can be made.
    pub fn cut(&self) {
        let mut state = self.shared.lock();
        for connection in &mut state.connections {
            connection.cut();
        }
        self.shared.changed.notify_all();
    }

    /// From now on nothing is delivered, and nobody is told: a link that has gone down.
    pub fn freeze(&self) {
        self.shared.lock().is_frozen = true;
    }

    /// What was held back is delivered, and what comes.
    pub fn thaw(&self) {
        self.shared.lock().is_frozen = false;
        self.shared.changed.notify_all();
    }

    /// Waits until this many bytes have come from a side, over all connections.
    ///
    /// # Panics
    ///
    /// When they do not.
    pub fn wait_for_bytes(&self, from: Side, bytes: usize) {
        let came = |state: &State| {
            let chunks = state.connections.iter().flat_map(|it| &it.chunks);
            chunks.filter(|it| it.from == from).map(|it| it.bytes).sum::<usize>()
        };
        let state = self.shared.lock();
        let missing = |state: &mut State| came(state) < bytes;
        let (state, _) = self.shared.changed.wait_timeout_while(state, PATIENCE, missing).unwrap();
        let came = came(&state);
        assert!(came >= bytes, "{came} bytes came from the {from:?} instead of {bytes}");
    }
}

/// Longer than anything but a failure takes.
const PATIENCE: Duration = Duration::from_secs(30);

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_ending.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the thread that accepts, which then sees that it is to end.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        let _ = self.acceptor.take().expect("only taken here").join();
        self.cut();
        let threads = std::mem::take(&mut self.shared.lock().threads);
        for thread in threads {
            let _ = thread.join();
        }
    }
}

/// As much as one read takes, and how many of these may be under way: 64 MiB, so that a delay of some
/// 10 ms limits no throughput that loopback reaches.
const READ_BYTES: usize = 64 << 10;
const CHUNKS_UNDER_WAY: usize = 1 << 10;

/// Bytes under way: when they are due, and of which round trip they are.
type Due = (Vec<u8>, Instant, u32);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while let Ok((client, _)) = listener.accept() {
            if self.is_ending.load(Ordering::SeqCst) {
                return;
            }
            // A server that is not there: the client sees its connection closed.
            if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.target)) {
                self.connect(client, server).expect("descriptors");
            }
        }
    }

    fn connect(self: &Arc<Self>, client: TcpStream, server: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let pairs = [
            (Side::Client, client.try_clone()?, server.try_clone()?),
            (Side::Server, server.try_clone()?, client.try_clone()?),
        ];
        let mut state = self.lock();
        let number = state.connections.len();
        let (chunks, delivered) = (Vec::new(), [0; 2]);
        state.connections.push(Connection { client, server, is_cut: false, chunks, delivered });
        for (from, source, sink) in pairs {
            let (sender, receiver) = mpsc::sync_channel(CHUNKS_UNDER_WAY);
            let (reader, writer) = (Arc::clone(self), Arc::clone(self));
            state.threads.push(thread::spawn(move || reader.read(number, from, source, &sender)));
            state.threads.push(thread::spawn(move || writer.write(number, from, sink, &receiver)));
        }
        Ok(())
    }

    fn read(&self, number: usize, from: Side, mut source: TcpStream, sink: &SyncSender<Due>) {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            // An error is a connection that was closed without ceremony, and the end as well.
            let bytes = source.read(&mut buffer).unwrap_or(0);
            let time = Instant::now();
            let mut state = self.lock();
            let connection = &mut state.connections[number];
            let round_trip = match from {
                Side::Client => connection.delivered[Side::Server as usize] + 1,
                Side::Server => connection.delivered[Side::Client as usize],
            };
            if bytes > 0 {
                connection.chunks.push(Chunk { from, bytes, time, round_trip });
                self.changed.notify_all();
            }
            drop(state);
            let due = (buffer[..bytes].to_vec(), time + self.delay, round_trip);
            // No bytes stand for the end, which travels as they do.
            if sink.send(due).is_err() || bytes == 0 {
                return;
            }
        }
    }

    fn write(&self, number: usize, from: Side, mut sink: TcpStream, source: &Receiver<Due>) {
        // Ends without a word when the reader does, which happens when the connection is cut.
        while let Ok((bytes, due, round_trip)) = source.recv() {
            let mut state = self.lock();
            loop {
                let wait = due.saturating_duration_since(Instant::now());
                if state.connections[number].is_cut {
                    return;
                }
                state = if state.is_frozen {
                    self.changed.wait(state).unwrap()
                } else if !wait.is_zero() {
                    self.changed.wait_timeout(state, wait).unwrap().0
                } else {
                    break;
                };
            }
            // Noted before it is done: what comes after it may be because of it.
            if !bytes.is_empty() {
                let delivered = &mut state.connections[number].delivered[from as usize];
                *delivered = round_trip.max(*delivered);
            }
            drop(state);
            let done = match bytes.is_empty() {
                true => sink.shutdown(Shutdown::Write),
                false => sink.write_all(&bytes),
            };
            if done.is_err() || bytes.is_empty() {
                return;
            }
        }
    }
}

impl Connection {
    fn cut(&mut self) {
        self.is_cut = true;
        // Those that the other side has closed already cannot be shut down.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}
