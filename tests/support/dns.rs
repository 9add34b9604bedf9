//! A real authoritative DNS server on 127.0.0.1, over UDP and TCP, whose zone and faults a test sets while it runs.
//!
//! It is authoritative for the root, so every name can have records; a name without records does not exist (NXDOMAIN).
//! It runs on a thread of its own: tests with and without a runtime can use it.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use hickory_proto::{
    op::{Header, HeaderCounts, Metadata, ResponseCode},
    rr::{
        LowerName, Name, RData, Record, RecordSet, RecordType, RrKey,
        rdata::{A, AAAA, CNAME, MX, SOA, TXT},
    },
};
use hickory_server::{
    net::runtime::{Time, TokioRuntimeProvider},
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo, Server},
    store::in_memory::InMemoryZoneHandler,
    zone_handler::{AxfrPolicy, Catalog, MessageResponseBuilder, ZoneType},
};
use tokio::sync::oneshot;

/// The server; it stops when dropped. Changes apply from the next query on (but a resolver may cache earlier answers).
pub struct DnsServer {
    address: SocketAddr,
    zone: Arc<Zone>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// What a name does instead of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answers SERVFAIL.
    ServFail,
    /// Answers REFUSED.
    Refused,
    /// Gives no answer, so that the query times out.
    Silent,
}

#[derive(Default)]
struct Zone {
    state: Mutex<State>,
    asked: Condvar,
}

struct State {
    records: BTreeMap<RrKey, RecordSet>,
    /// By name, for one type or (None) all.
    faults: HashMap<(LowerName, Option<RecordType>), Fault>,
    questions: HashMap<(LowerName, RecordType), usize>,
    over_tcp: usize,
    ttl: u32,
    /// The records as hickory serves them; None after a change.
    catalog: Option<Arc<Catalog>>,
}

/// The TTL of records until [`DnsServer::ttl`] says otherwise, and of "there is none", in seconds.
const TTL: u32 = 60;

impl DnsServer {
    /// Starts with an empty zone, on a port of its own.
    pub fn start() -> Self {
        let (tcp, udp) = sockets().expect("a free port on 127.0.0.1");
        let address = udp.local_addr().expect("the socket is bound");
        let zone = Arc::new(Zone::default());
        let (stop, stopped) = oneshot::channel();
        let handler = Handler(Arc::clone(&zone));
        let thread = thread::Builder::new().name("dns".to_owned()).spawn(move || serve(handler, tcp, udp, stopped));
        Self { address, zone, stop: Some(stop), thread: Some(thread.expect("a thread for the DNS server")) }
    }

    /// The address it answers on, over UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the TTL, in seconds, of records added from now on.
    pub fn ttl(&self, seconds: u32) -> &Self {
        self.zone.lock().ttl = seconds;
        self
    }

    /// Adds an MX record.
    pub fn mx(&self, domain: &str, preference: u16, host: &str) -> &Self {
        self.record(domain, RData::MX(MX::new(preference, name(host))))
    }

    /// Adds a null MX: the domain accepts no mail (RFC 7505).
    pub fn null_mx(&self, domain: &str) -> &Self {
        self.record(domain, RData::MX(MX::new(0, Name::root())))
    }

    /// Adds an A record.
    pub fn a(&self, host: &str, ip: &str) -> &Self {
        self.record(host, RData::A(A(ip.parse::<Ipv4Addr>().expect("an IPv4 address"))))
    }

    /// Adds an AAAA record.
    pub fn aaaa(&self, host: &str, ip: &str) -> &Self {
        self.record(host, RData::AAAA(AAAA(ip.parse::<Ipv6Addr>().expect("an IPv6 address"))))
    }

    /// Makes `alias` another name of `target`.
    pub fn cname(&self, alias: &str, target: &str) -> &Self {
        self.record(alias, RData::CNAME(CNAME(name(target))))
    }

    /// Adds a TXT record; a long text is split into strings of 255 bytes, as DNS requires.
    pub fn txt(&self, host: &str, text: &str) -> &Self {
        let strings = text.as_bytes().chunks(255).map(|part| String::from_utf8_lossy(part).into_owned());
        self.record(host, RData::TXT(TXT::new(strings.collect())))
    }

    /// Adds a record of any type.
    pub fn record(&self, owner: &str, data: RData) -> &Self {
        let mut state = self.zone.lock();
        let record = Record::from_rdata(name(owner), state.ttl, data);
        state.add(record);
        drop(state);
        self
    }

    /// Removes all records of a name, so that it does not exist.
    pub fn remove(&self, owner: &str) -> &Self {
        let (mut state, owner) = (self.zone.lock(), lower(owner));
        state.records.retain(|key, _| *key.name() != owner);
        state.catalog = None;
        drop(state);
        self
    }

    /// Makes all queries for this name fail like this from now on.
    pub fn fault(&self, owner: &str, fault: Fault) -> &Self {
        self.zone.lock().faults.insert((lower(owner), None), fault);
        self
    }

    /// Makes queries of one type for this name fail like this from now on.
    pub fn fault_of(&self, owner: &str, kind: RecordType, fault: Fault) -> &Self {
        self.zone.lock().faults.insert((lower(owner), Some(kind)), fault);
        self
    }

    /// The name answers again.
    pub fn heal(&self, owner: &str) -> &Self {
        let owner = lower(owner);
        self.zone.lock().faults.retain(|(at, _), _| *at != owner);
        self
    }

    /// How many queries for this name have arrived, of any type.
    pub fn questions(&self, owner: &str) -> usize {
        let owner = lower(owner);
        self.zone.lock().questions.iter().filter(|((at, _), _)| *at == owner).map(|(_, count)| count).sum()
    }

    /// How many queries of this type for this name have arrived.
    pub fn questions_of(&self, owner: &str, kind: RecordType) -> usize {
        self.zone.lock().questions.get(&(lower(owner), kind)).copied().unwrap_or_default()
    }

    /// How many queries have arrived over TCP.
    pub fn questions_over_tcp(&self) -> usize {
        self.zone.lock().over_tcp
    }

    /// Waits until this many queries for this name have arrived; false if they have not within the time.
    pub fn wait_for_questions(&self, owner: &str, count: usize, most: Duration) -> bool {
        let owner = lower(owner);
        let too_few = |state: &mut State| {
            let came = state.questions.iter().filter(|((at, _), _)| *at == owner);
            came.map(|(_, count)| *count).sum::<usize>() < count
        };
        let (_state, waited) = self.zone.asked.wait_timeout_while(self.zone.lock(), most, too_few).unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in that thread has been printed already.
            let _ = thread.join();
        }
    }
}

impl Zone {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for State {
    fn default() -> Self {
        let mut state =
            Self { records: BTreeMap::new(), faults: HashMap::new(), questions: HashMap::new(), over_tcp: 0, ttl: TTL, catalog: None };
        let soa = SOA::new(name("ns.test"), name("hostmaster.test"), 1, 3600, 600, 86_400, TTL);
        state.add(Record::from_rdata(Name::root(), TTL, RData::SOA(soa)));
        state
    }
}

impl State {
    fn add(&mut self, record: Record) {
        let key = RrKey::new(LowerName::new(&record.name), record.record_type());
        let set = self.records.entry(key).or_insert_with(|| RecordSet::new(record.name.clone(), record.record_type(), 1));
        set.insert(record, 1);
        self.catalog = None;
    }

    fn fault(&self, owner: &LowerName, kind: RecordType) -> Option<Fault> {
        let of = |kind| self.faults.get(&(owner.clone(), kind)).copied();
        of(Some(kind)).or_else(|| of(None))
    }

    fn catalog(&mut self) -> Arc<Catalog> {
        let records = &self.records;
        Arc::clone(self.catalog.get_or_insert_with(|| {
            let zone: InMemoryZoneHandler<TokioRuntimeProvider> =
                InMemoryZoneHandler::new(Name::root(), records.clone(), ZoneType::Primary, AxfrPolicy::Deny, None)
                    .expect("the zone has its SOA");
            let mut catalog = Catalog::new();
            catalog.upsert(LowerName::new(&Name::root()), vec![Arc::new(zone)]);
            Arc::new(catalog)
        }))
    }
}

struct Handler(Arc<Zone>);

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut response: R) -> ResponseInfo {
        let (fault, catalog) = self.note(request);
        let code = match fault {
            None => return catalog.handle_request::<R, T>(request, response).await,
            Some(Fault::Silent) => return nothing_sent(request),
            Some(Fault::ServFail) => ResponseCode::ServFail,
            Some(Fault::Refused) => ResponseCode::Refused,
        };
        let message = MessageResponseBuilder::from_message_request(request).error_msg(&request.metadata, code);
        response.send_response(message).await.unwrap_or_else(|_| nothing_sent(request))
    }
}

impl Handler {
    fn note(&self, request: &Request) -> (Option<Fault>, Arc<Catalog>) {
        let mut state = self.0.lock();
        let mut fault = None;
        if let Ok(info) = request.request_info() {
            let (owner, kind) = (info.query.name().clone(), info.query.query_type());
            fault = state.fault(&owner, kind);
            *state.questions.entry((owner, kind)).or_default() += 1;
            state.over_tcp += usize::from(!info.protocol.is_datagram());
        }
        self.0.asked.notify_all();
        (fault, state.catalog())
    }
}

fn nothing_sent(request: &Request) -> ResponseInfo {
    Header { metadata: Metadata::response_from_request(&request.metadata), counts: HeaderCounts::default() }.into()
}

fn serve(handler: Handler, tcp: TcpListener, udp: UdpSocket, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime for the DNS server");
    runtime.block_on(async move {
        let mut server = Server::new(handler);
        server.register_socket(tokio::net::UdpSocket::from_std(udp).expect("the UDP socket is fit for tokio"));
        let tcp = tokio::net::TcpListener::from_std(tcp).expect("the TCP socket is fit for tokio");
        server.register_listener(tcp, Duration::from_secs(30), 64);
        // The sender is never used; its drop is the signal to stop.
        let _ = stopped.await;
    });
}

/// The same free port for both. The system chooses the first; another process may hold the second.
fn sockets() -> io::Result<(TcpListener, UdpSocket)> {
    const TRIES: usize = 100;
    let mut last = None;
    for _ in 0..TRIES {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        match UdpSocket::bind(tcp.local_addr()?) {
            Ok(udp) => {
                tcp.set_nonblocking(true)?;
                udp.set_nonblocking(true)?;
                return Ok((tcp, udp));
            }
            Err(taken) => last = Some(taken),
        }
    }
    Err(last.expect("there was a try"))
}

/// Parses "a.b" as a fully qualified name, with or without a final dot.
fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("a domain name");
    name.set_fqdn(true);
    name
}

fn lower(text: &str) -> LowerName {
    LowerName::new(&name(text))
}
