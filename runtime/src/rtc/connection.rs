//! One peer connection from its description to its end: a task that sets it up and tears it down, a reader
//! and a writer. They end together, and what they held is freed before the end is reported.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use kollator_core::rtc::{ConnId, RtcEvent};
use kollator_core::wire::frame::Frame;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::error::Error;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionEventHandler, RTCIceCandidateInit, RTCIceGatheringState, RTCPeerConnectionState,
    RTCSessionDescription,
};

use super::socket::ConnectionRuntime;
use super::webrtc::Shared;
use crate::event::{EventSink, Lease};

/// The one data channel of a connection.
const LABEL: &str = "kollator";
/// Most bytes of frames waiting for the stack. Machines keep far below it.
const MAX_QUEUED: usize = 8 << 20;
/// Descriptions and candidates waiting to be applied.
const MAX_CONTROLS: usize = 2 * MAX_CANDIDATES;
/// Most candidates taken from the other side: each one is an address of its choice that we send checks to.
const MAX_CANDIDATES: usize = 32;
/// Bytes of frames that one `Sent` stands for while more are waiting.
const SENT_BATCH: u32 = 256 << 10;
/// How long what was queued before a `Close` may take to reach the other side.
const FLUSH: Duration = Duration::from_secs(1);
/// How long a closed channel may take to hand over what had arrived.
const DRAIN: Duration = Duration::from_secs(1);

/// Which side of a connection we are.
pub(super) enum Role {
    Offer,
    Accept { sdp: String },
}

enum Control {
    Answer(String),
    Candidate(String),
}

/// What the transport keeps of a connection. Dropping it closes the connection.
#[derive(Debug)]
pub(super) struct Connection {
    controls: mpsc::Sender<Control>,
    frames: mpsc::UnboundedSender<Frame>,
    /// Bytes of frames given to `frames` and not yet taken by the stack.
    queued: Arc<AtomicUsize>,
    /// Ends the connection; dropped without a word, it is closed in good order.
    give_up: Option<oneshot::Sender<End>>,
    lease: Lease,
}

impl Connection {
    pub(super) fn spawn(conn: ConnId, role: Role, shared: Arc<Shared>, sink: &EventSink<RtcEvent>) -> Self {
        let (sink, lease) = sink.leased();
        let (controls, controls_rx) = mpsc::channel(MAX_CONTROLS);
        let (frames, frames_rx) = mpsc::unbounded_channel();
        let (give_up, over) = oneshot::channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let task = Task {
            conn,
            sink,
            controls: controls_rx,
            candidates: 0,
            frames: Some(frames_rx),
            queued: queued.clone(),
            over,
            readers: JoinSet::new(),
            writers: JoinSet::new(),
            channel: None,
        };
        let live = Live::new(shared);
        tokio::spawn(task.run(role, live));
        Self { controls, frames, queued, give_up: Some(give_up), lease }
    }

    /// Whether it ended by itself and has said so.
    pub(super) fn is_over(&self) -> bool {
        self.controls.is_closed()
    }

    pub(super) fn set_answer(&self, sdp: String) {
        self.control(Control::Answer(sdp));
    }

    pub(super) fn add_candidate(&self, candidate: String) {
        self.control(Control::Candidate(candidate));
    }

    fn control(&self, control: Control) {
        // Closed: it is over, and silence is the answer. Full: the other side floods us with candidates.
        if let Err(mpsc::error::TrySendError::Full(_)) = self.controls.try_send(control) {
            tracing::debug!("too many candidates at once; one is left out");
        }
    }

    pub(super) fn send(&mut self, frame: Frame) {
        let len = frame.encoded_len();
        let queued = self.queued.fetch_add(len, Ordering::Relaxed) + len;
        if queued <= MAX_QUEUED {
            // An error says that it is over; its `Closed` is on its way.
            let _ = self.frames.send(frame);
        } else if let Some(give_up) = self.give_up.take() {
            let _ = give_up.send(End::Because(format!("more than {MAX_QUEUED} bytes wait to be sent")));
        }
    }

    /// Closes it, with `flush` after what was queued is sent. Nothing is heard of it any more.
    pub(super) fn close(mut self, flush: bool) {
        self.lease.revoke();
        if !flush && let Some(give_up) = self.give_up.take() {
            // An error says that it has ended already.
            let _ = give_up.send(End::Cut);
        }
    }
}

/// Counts a connection for as long as it holds anything.
struct Live(Arc<Shared>);

impl Live {
    fn new(shared: Arc<Shared>) -> Self {
        shared.live.send_modify(|live| *live += 1);
        Self(shared)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.send_modify(|live| *live -= 1);
    }
}

/// What the stack reports.
enum Event {
    Channel(Arc<dyn DataChannel>),
    Open,
    Lost(&'static str),
}

struct Handler {
    events: mpsc::UnboundedSender<Event>,
    gathered: Arc<Notify>,
    /// The other side may open channels as it likes; the first counts.
    has_channel: AtomicBool,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.notify_one();
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        // Whoever has ended does not listen any more.
        let _ = match state {
            RTCPeerConnectionState::Failed => self.events.send(Event::Lost("no path to the other side works")),
            RTCPeerConnectionState::Closed => {
                self.events.send(Event::Lost("the other side closed the connection"))
            }
            _ => Ok(()),
        };
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        if !self.has_channel.swap(true, Ordering::Relaxed) {
            let _ = self.events.send(Event::Channel(channel));
        }
    }
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The machine closed it: send what is queued, say nothing.
    Closed,
    /// The machine closed it, whatever is queued: say nothing.
    Cut,
    /// Anything else, in words.
    Because(String),
}

struct Task {
    conn: ConnId,
    sink: EventSink<RtcEvent>,
    controls: mpsc::Receiver<Control>,
    /// Candidates taken so far.
    candidates: usize,
    /// Until the channel is open.
    frames: Option<mpsc::UnboundedReceiver<Frame>>,
    queued: Arc<AtomicUsize>,
    over: oneshot::Receiver<End>,
    readers: JoinSet<&'static str>,
    writers: JoinSet<()>,
    channel: Option<Arc<dyn DataChannel>>,
}

impl Task {
    async fn run(mut self, role: Role, live: Live) {
        let end = self.live(role, &live.0).await;
        self.writers.shutdown().await;
        self.readers.shutdown().await;
        drop(live);
        if let End::Because(reason) = end {
            // An error says that the machine has stopped.
            let _ = self.sink.send(RtcEvent::Closed { conn: self.conn, reason }).await;
        }
    }

    async fn live(&mut self, role: Role, shared: &Shared) -> End {
        let (events, mut from_stack) = mpsc::unbounded_channel();
        let gathered = Arc::new(Notify::new());
        let has_channel = AtomicBool::new(matches!(role, Role::Offer));
        let handler = Handler { events: events.clone(), gathered: gathered.clone(), has_channel };
        let (pc, runtime) = match shared.connect(Arc::new(handler)).await {
            Ok(connected) => connected,
            Err(error) => return End::Because(format!("cannot make a connection: {error}")),
        };
        // What a stranger sent is parsed by the stack in here: should that ever panic, it costs one connection.
        let talk = async {
            let described = self.describe(&*pc, role, &gathered, shared.gather_timeout);
            if let Some(end) = described.await {
                return end;
            }
            self.talk(&*pc, &runtime, &events, &mut from_stack).await
        };
        let end = AssertUnwindSafe(talk)
            .catch_unwind()
            .await
            .unwrap_or_else(|_| End::Because("the WebRTC stack failed".into()));
        runtime.settle();
        if matches!(end, End::Closed) {
            // What did not make it in time is lost, as the contract says.
            let _ = timeout(FLUSH, self.flush()).await;
        }
        if let Err(error) = pc.close().await {
            tracing::debug!(conn = self.conn.0, %error, "closing a connection");
        }
        if matches!(end, End::Because(_)) {
            // The stream of events has ended, so this is short unless the machine is behind.
            let _ = timeout(DRAIN, self.readers.join_next()).await;
        }
        end
    }

    /// Describes our side with all candidates. `Some` if it came to an end over that.
    async fn describe(
        &mut self,
        pc: &dyn PeerConnection,
        role: Role,
        gathered: &Notify,
        gather_timeout: Duration,
    ) -> Option<End> {
        let described = async {
            let (ours, channel) = match role {
                Role::Offer => {
                    let channel = pc.create_data_channel(LABEL, None).await?;
                    (pc.create_offer(None).await?, Some(channel))
                }
                Role::Accept { sdp } => {
                    let offer = RTCSessionDescription::offer(sdp)?;
                    self.candidates = check_description(&offer)?;
                    pc.set_remote_description(offer).await?;
                    (pc.create_answer(None).await?, None)
                }
            };
            pc.set_local_description(ours).await?;
            if timeout(gather_timeout, gathered.notified()).await.is_err() {
                tracing::debug!(conn = self.conn.0, "a STUN or TURN server does not answer");
            }
            let ours = pc.local_description().await.ok_or_else(|| Error::Other("no local description".into()))?;
            Ok::<_, Error>((ours.sdp, channel))
        };
        let described = tokio::select! {
            biased;
            over = &mut self.over => return Some(ended(over)),
            described = described => described,
        };
        match described {
            Ok((sdp, channel)) => {
                self.channel = channel;
                let _ = self.sink.send(RtcEvent::Described { conn: self.conn, sdp }).await;
                None
            }
            Err(error) => Some(End::Because(format!("cannot describe the connection: {error}"))),
        }
    }

    async fn talk(
        &mut self,
        pc: &dyn PeerConnection,
        runtime: &ConnectionRuntime,
        events: &mpsc::UnboundedSender<Event>,
        from_stack: &mut mpsc::UnboundedReceiver<Event>,
    ) -> End {
        if let Some(channel) = self.channel.clone() {
            self.readers.spawn(read(self.conn, channel, self.sink.clone(), events.clone()));
        }
        loop {
            tokio::select! {
                biased;
                over = &mut self.over => {
                    // The machine may have sent and closed as soon as it heard that the channel is open.
                    while let Ok(event) = from_stack.try_recv() {
                        if matches!(event, Event::Open) {
                            self.begin_writing();
                        }
                    }
                    return ended(over);
                }
                Some(event) = from_stack.recv() => match event {
                    Event::Channel(channel) => {
                        if let Err(reason) = check_channel(&*channel).await {
                            return End::Because(reason);
                        }
                        self.channel = Some(channel.clone());
                        self.readers.spawn(read(self.conn, channel, self.sink.clone(), events.clone()));
                    }
                    Event::Open => {
                        runtime.settle();
                        self.begin_writing();
                    }
                    Event::Lost(reason) => return End::Because(reason.into()),
                },
                Some(reason) = self.readers.join_next() => {
                    return End::Because(reason.unwrap_or("the WebRTC stack failed").into());
                }
                Some(control) = self.controls.recv() => {
                    if let Err(reason) = self.apply(pc, control).await {
                        return End::Because(reason);
                    }
                }
            }
        }
    }

    fn begin_writing(&mut self) {
        if let (Some(channel), Some(frames)) = (self.channel.clone(), self.frames.take()) {
            self.writers.spawn(write(self.conn, channel, frames, self.queued.clone(), self.sink.clone()));
        }
    }

    async fn apply(&mut self, pc: &dyn PeerConnection, control: Control) -> Result<(), String> {
        match control {
            Control::Answer(sdp) => {
                let applied = async {
                    let answer = RTCSessionDescription::answer(sdp)?;
                    self.candidates += check_description(&answer)?;
                    pc.set_remote_description(answer).await
                };
                applied.await.map_err(|error: Error| format!("the answer cannot be used: {error}"))
            }
            // An empty one says that there are no more.
            Control::Candidate(candidate) if candidate.is_empty() => Ok(()),
            Control::Candidate(_) if self.candidates >= MAX_CANDIDATES => {
                Err(format!("more than {MAX_CANDIDATES} candidates"))
            }
            Control::Candidate(candidate) => {
                self.candidates += 1;
                let init = RTCIceCandidateInit { candidate, sdp_mline_index: Some(0), ..Default::default() };
                pc.add_ice_candidate(init).await.map_err(|error| format!("a candidate cannot be used: {error}"))
            }
        }
    }

    /// Waits until the other side has everything that was queued.
    async fn flush(&mut self) {
        let (None, Some(channel)) = (&self.frames, self.channel.clone()) else {
            return;
        };
        // The sender of frames is gone, so the writer ends with the last of them.
        while self.writers.join_next().await.is_some() {}
        // The stack tells nobody when its buffer is empty.
        while channel.outstanding_bytes().await.is_ok_and(|bytes| bytes > 0) {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

fn ended(over: Result<End, oneshot::error::RecvError>) -> End {
    over.unwrap_or(End::Closed)
}

/// The number of candidates in a description. Refuses one of anything but one data channel transport.
fn check_description(description: &RTCSessionDescription) -> Result<usize, Error> {
    let parsed = description.unmarshal()?;
    let [media] = parsed.media_descriptions.as_slice() else {
        return Err(Error::Other("it must have one section".into()));
    };
    if media.media_name.media != "application" {
        return Err(Error::Other(format!("its section is {:?}, not \"application\"", media.media_name.media)));
    }
    let candidates = parsed.attributes.iter().chain(&media.attributes).filter(|a| a.key == "candidate").count();
    if candidates > MAX_CANDIDATES {
        return Err(Error::Other(format!("it has more than {MAX_CANDIDATES} candidates")));
    }
    Ok(candidates)
}

async fn check_channel(channel: &dyn DataChannel) -> Result<(), String> {
    let check = async {
        let label = channel.label().await?;
        let reliable = channel.ordered().await?
            && channel.max_retransmits().await?.is_none()
            && channel.max_packet_life_time().await?.is_none();
        Ok::<_, Error>((label, reliable))
    };
    match check.await {
        Ok((label, true)) if label == LABEL => Ok(()),
        Ok(_) => Err(format!("the data channel must be ordered, reliable and labelled {LABEL:?}")),
        Err(error) => Err(format!("the data channel closed at once: {error}")),
    }
}

/// Hands over what arrives; waiting for room there is what slows the other side down.
async fn read(
    conn: ConnId,
    channel: Arc<dyn DataChannel>,
    sink: EventSink<RtcEvent>,
    events: mpsc::UnboundedSender<Event>,
) -> &'static str {
    while let Some(event) = channel.poll().await {
        let delivered = match event {
            DataChannelEvent::OnOpen => {
                // First: whoever hears that it is open may close it at once.
                let _ = events.send(Event::Open);
                sink.send(RtcEvent::Open { conn }).await
            }
            DataChannelEvent::OnMessage(message) => {
                sink.send(RtcEvent::Message { conn, data: message.data.freeze() }).await
            }
            DataChannelEvent::OnClose => break,
            _ => Ok(()),
        };
        if delivered.is_err() {
            return "the machine has stopped";
        }
    }
    "the other side closed the data channel"
}

async fn write(
    conn: ConnId,
    channel: Arc<dyn DataChannel>,
    mut frames: mpsc::UnboundedReceiver<Frame>,
    queued: Arc<AtomicUsize>,
    sink: EventSink<RtcEvent>,
) {
    let mut unsaid: u32 = 0;
    while let Some(frame) = frames.recv().await {
        let data = frame.encode();
        let len = data.len();
        if channel.send(data).await.is_err() {
            // The reader sees the end too and reports it.
            return;
        }
        queued.fetch_sub(len, Ordering::Relaxed);
        unsaid += len as u32;
        if frames.is_empty() || unsaid >= SENT_BATCH {
            if sink.send(RtcEvent::Sent { conn, bytes: unsaid }).await.is_err() {
                return;
            }
            unsaid = 0;
        }
    }
}
