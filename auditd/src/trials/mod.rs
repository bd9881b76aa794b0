//! Whole lives of the writer on a disk that can fail at every operation, judged by the verifier.

mod signer;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;
use protocol::append::{
    self, Event, KillSwitchAction, Outcome, Redaction, Refusal, Reply, RequestRef, Sent,
};
use protocol::evidence::body::Body;
use protocol::evidence::verify::{Options, PinnedKey, Report, Source, Verdict, verify_chain};
use protocol::evidence::{chain, line};
use protocol::{codec, link};

use self::signer::{Double, Held, key};
use crate::arguments::Cadence;
use crate::clock::Stamp;
use crate::failure::Failure;
use crate::greet;
use crate::intake::Peer;
use crate::recovery::recover;
use crate::sealer::Sealer;
use crate::storage::model::{Model, Trouble};
use crate::writer::{Job, Queues, Terms, Writer};

type Files = BTreeMap<String, Vec<u8>>;

const INST: [u8; 8] = [7; 8];

/// What the proxy would send in a short life. `None` ends a group.
fn script() -> Vec<Option<Event>> {
    let policy_hash = chain::link(b"{}");
    let at = |req_no| RequestRef { inst: INST, req_no };
    let host = || String::from("api.example.com");
    let clean = |req_no| Event::ScanClean { at: at(req_no), host: host(), policy_hash };
    vec![
        Some(Event::Policy { canonical: b"{}".to_vec() }),
        Some(Event::PolicyChange {
            old_policy_hash: None,
            new_policy_hash: policy_hash,
            pattern_count: 1,
            actor: "config".into(),
        }),
        None,
        Some(clean(1)),
        Some(clean(2)),
        Some(redaction(3, 1)),
        None,
        Some(Event::Outcome { at: at(3), sent: Sent::All, status: Some(200) }),
        Some(redaction(4, 200)),
        Some(clean(5)),
        None,
        Some(Event::KillSwitch {
            action: KillSwitchAction::Cleared,
            sources_active: vec![],
            inst: None,
            req_no: None,
            actor: Some("uid:0".into()),
            reason: None,
        }),
    ]
}

fn redaction(req_no: u64, many: usize) -> Event {
    let one = Redaction { kind: "K".into(), hmac8: [2; 8], rule: "r".into(), count: 1 };
    Event::Redaction {
        at: RequestRef { inst: INST, req_no },
        host: "api.example.com".into(),
        request_id: None,
        session_id: None,
        redactions: vec![one; many],
        policy_hash: chain::link(b"{}"),
        hkey: [3; 8],
    }
}

/// No trial depends on time: whoever waits waits long enough for a machine that is busy.
fn cadence() -> Cadence {
    Cadence { patience: Duration::from_secs(60), ..Cadence::default() }
}

/// How a life ended, and what it had answered by then.
struct Life {
    ended: Result<(), Failure>,
    answers: Vec<Reply>,
}

impl Life {
    /// Numbers of the requests whose redaction was acknowledged.
    fn acknowledged(&self, script: &[Option<Event>]) -> Vec<u64> {
        let taken = |reply: &&Reply| matches!(reply.outcome, Outcome::Appended { .. });
        let number = |reply: &Reply| match &script[usize::try_from(reply.id).unwrap()] {
            Some(Event::Redaction { at, .. }) => Some(at.req_no),
            _ => None,
        };
        self.answers.iter().filter(taken).filter_map(number).collect()
    }
}

/// One life on `model`: start, the script, stop. Ends early when something goes wrong.
fn live(model: &Model, signer: &Double, script: &[Option<Event>]) -> Life {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let answers = thread::spawn(|| heard(ours));
    let ended = live_answering(model, signer, script, theirs);
    Life { ended, answers: answers.join().unwrap() }
}

fn live_answering(
    model: &Model,
    signer: &Double,
    script: &[Option<Event>],
    stream: UnixStream,
) -> Result<(), Failure> {
    let (queue, jobs) = sync_channel(script.len() + 8);
    let peer = Arc::new(Peer::new(stream));
    for (id, event) in (0..).zip(script) {
        let job = match event.clone() {
            Some(event) => Job::Append { id, event, peer: Arc::clone(&peer) },
            None => Job::Wake,
        };
        queue.send(job).unwrap();
    }
    queue.send(Job::Stop).unwrap();
    drop(peer);
    serve(model, signer, queue, jobs, Stamp::now)
}

fn serve(
    model: &Model,
    signer: &Double,
    queue: SyncSender<Job>,
    jobs: Receiver<Job>,
    clock: fn() -> Stamp,
) -> Result<(), Failure> {
    let mut link = signer.connect();
    let status = greet(&mut link)?;
    let storage = Arc::new(model.clone());
    let recovered = recover(&*storage, &status, [1; 8], Stamp::now())?;
    let ((orders, ordered), (verdict, verdicts)) = (channel(), channel());
    let sealer = Sealer::new(Arc::clone(&storage), &recovered, link, key(), status.size);
    let sealer = sealer.start(ordered, verdict, queue)?;
    let terms = Terms { signer: status, key: key(), cadence: cadence() };
    let queues = Queues { jobs, orders, verdicts };
    let opened = Writer::open(storage, recovered, queues, terms, "none".into(), clock);
    let ended = opened.and_then(|mut writer| writer.run());
    sealer.join().unwrap();
    ended
}

fn heard(mut stream: UnixStream) -> Vec<Reply> {
    let mut replies = Vec::new();
    while let Ok(frame) = link::read_frame(&mut stream, append::CAP) {
        replies.push(codec::decode(&frame).unwrap());
    }
    replies
}

struct Directory<'a>(&'a Files);

impl Source for Directory<'_> {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.keys().filter(|name| !name.contains('/')).cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        Ok(self.0.get(name).map(|bytes| Box::new(bytes.as_slice()) as Box<dyn Read>))
    }
}

fn verify(files: &Files) -> Report {
    let pinned = PinnedKey::parse(&key().to_string()).unwrap();
    verify_chain(&Directory(files), &Options::new(pinned))
}

fn bodies(files: &Files) -> Vec<Body> {
    let segments = files.iter().filter(|(name, _)| name.ends_with(".jsonl"));
    let lines = segments.flat_map(|(_, bytes)| bytes.split(|byte| *byte == b'\n'));
    lines.filter_map(|line| line::parse(line).ok()).map(|line| line.body).collect()
}

fn redacted(files: &Files, req_no: u64) -> usize {
    let is = |body: &Body| matches!(body, Body::Redaction(r) if r.req_no == req_no);
    bodies(files).iter().filter(|body| is(body)).count()
}

/// Restarts on what a crash left, and demands of the result what is promised.
fn demand(files: &Files, signer: &Double, held: Held, acknowledged: &[u64], when: &str) {
    *signer.held() = Held { away: false, mute: None, ..held };
    let model = Model::holding(files);
    let life = live(&model, signer, &[]);
    assert!(life.ended.is_ok(), "{when}: {:?}", life.ended);
    let files = model.files();
    let report = verify(&files);
    assert_eq!(report.verdict, Verdict::Ok, "{when}: {report}");
    assert_eq!(report.unsigned_tail, 0, "{when}");
    for req_no in acknowledged {
        assert!(redacted(&files, *req_no) > 0, "{when}: request {req_no} is lost");
    }
}

/// Cuts the power at every operation of a life on `before`, and restarts on every state of the
/// disk that may be left.
fn cut_everywhere(before: &Files, held: Held, script: &[Option<Event>]) {
    let signer = Double::new();
    for cut in 0.. {
        *signer.held() = held;
        let model = Model::holding(before);
        model.arm(cut, Trouble::Cut);
        let life = live(&model, &signer, script);
        let acknowledged = life.acknowledged(script);
        let held = *signer.held();
        for (state, files) in model.survivors().iter().enumerate() {
            demand(files, &signer, held, &acknowledged, &format!("cut {cut}, state {state}"));
        }
        if life.ended.is_ok() && model.operations() <= cut {
            assert!(cut > 20, "a life has more operations than {cut}");
            return;
        }
    }
}

/// A log that ended in good order, and its signer.
fn ended_well() -> (Files, Double) {
    let (model, signer) = (Model::new(), Double::new());
    let life = live(&model, &signer, &script());
    assert!(life.ended.is_ok(), "{:?}", life.ended);
    (model.files(), signer)
}

#[test]
fn a_life_leaves_a_log_that_verifies_and_answers_everything() {
    let (model, signer) = (Model::new(), Double::new());
    let life = live(&model, &signer, &script());
    assert!(life.ended.is_ok(), "{:?}", life.ended);
    let events = script().into_iter().flatten().count();
    assert_eq!(life.answers.len(), events);
    assert!(life.answers.iter().all(|reply| matches!(reply.outcome, Outcome::Appended { .. })));
    let report = verify(&model.files());
    assert_eq!(report.verdict, Verdict::Ok, "{report}");
    assert!(report.warnings.iter().all(|w| w.code == "W_UNANCHORED"), "{:?}", report.warnings);
    assert_eq!(report.checkpoints, 4, "start, policy change, kill switch, stop");
}

/// Operations of a life that sends `events` in one group.
fn operations(files: &Files, held: Held, events: Vec<Event>) -> usize {
    let (model, signer) = (Model::holding(files), Double::new());
    *signer.held() = held;
    let life = live(&model, &signer, &events.into_iter().map(Some).collect::<Vec<_>>());
    assert!(life.ended.is_ok(), "{:?}", life.ended);
    model.operations()
}

#[test]
fn a_group_costs_one_write_and_one_flush_however_large() {
    let (files, signer) = ended_well();
    let held = *signer.held();
    let redactions = |many: u64| (10..10 + many).map(|req_no| redaction(req_no, 1)).collect();
    let one = operations(&files, held, redactions(1));
    assert_eq!(operations(&files, held, redactions(100)), one);
    assert_eq!(operations(&files, held, vec![outcome(4)]), one - 1, "D2 is not flushed first");
    assert_eq!(operations(&files, held, vec![redaction(3, 1)]), one - 2, "nothing to append");
}

#[test]
fn a_checkpoint_follows_at_most_so_many_lines() {
    let (model, signer) = (Model::new(), Double::new());
    let policy = Some(Event::Policy { canonical: POLICY.to_vec() });
    let redactions = (1..=700).flat_map(|req_no| [Some(redaction(req_no, 1)), None]);
    let life =
        live(&model, &signer, &std::iter::once(policy).chain(redactions).collect::<Vec<_>>());
    assert!(life.ended.is_ok(), "{:?}", life.ended);
    let files = model.files();
    let places: Vec<_> = (1u64..)
        .zip(bodies(&files))
        .filter_map(|(seq, body)| matches!(body, Body::Checkpoint(_)).then_some(seq))
        .collect();
    assert!(places.windows(2).all(|pair| pair[1] - pair[0] <= 257), "{places:?}");
    assert_eq!(verify(&files).verdict, Verdict::Ok, "{}", verify(&files));
}

#[test]
fn a_second_life_goes_on_where_the_first_ended_and_a_resubmission_is_one_line_f18() {
    let (files, signer) = ended_well();
    let model = Model::holding(&files);
    let again = [Some(redaction(3, 1)), Some(redaction(4, 200)), Some(redaction(6, 1))];
    let life = live(&model, &signer, &again);
    assert!(life.ended.is_ok(), "{:?}", life.ended);
    let files = model.files();
    assert_eq!(redacted(&files, 3), 1);
    assert_eq!(redacted(&files, 6), 1);
    let starts: Vec<_> = bodies(&files)
        .into_iter()
        .filter_map(|body| if let Body::Start(start) = body { Some(start) } else { None })
        .collect();
    assert_eq!(starts.len(), 2);
    assert!(starts[1].clean);
    assert_eq!(starts[1].policy_hash, Some(chain::link(b"{}")));
    assert_eq!(verify(&files).verdict, Verdict::Ok, "{}", verify(&files));
}

#[test]
fn power_cut_at_every_operation_of_a_first_life_f01() {
    let held = *Double::new().held();
    cut_everywhere(&Files::new(), held, &script());
}

#[test]
fn power_cut_at_every_operation_of_a_recovery_f01() {
    let (mut files, signer) = ended_well();
    files.get_mut("proxy.jsonl").unwrap().extend_from_slice(b"{\"boot\":\"torn");
    let held = *signer.held();
    cut_everywhere(&files, held, &[Some(redaction(6, 1))]);
}

#[test]
fn a_tail_torn_at_every_byte_is_declared_and_never_glued_f02_f03() {
    let (files, signer) = ended_well();
    let whole = files["proxy.jsonl"].len();
    let held = *signer.held();
    // A life that ends with its last line written, flushed and not signed.
    let model = Model::holding(&files);
    let status = greet(&mut signer.connect()).unwrap();
    let mut recovered = recover(&model, &status, [1; 8], Stamp::now()).unwrap();
    let stop = protocol::evidence::body::Stop { reason: "torn".into() };
    recovered.log.stage([stop.into()], Stamp::now()).unwrap();
    recovered.log.write().unwrap();
    let longer = model.files()["proxy.jsonl"].clone();
    for end in whole..=longer.len() {
        let mut files = files.clone();
        files.insert("proxy.jsonl".into(), longer[..end].to_vec());
        *signer.held() = held;
        let model = Model::holding(&files);
        let life = live(&model, &signer, &[]);
        assert!(life.ended.is_ok(), "{end}: {:?}", life.ended);
        let report = verify(&model.files());
        assert_eq!(report.verdict, Verdict::Ok, "{end}: {report}");
        let torn = end != whole && end != longer.len();
        let is = |body: &Body| matches!(body, Body::Recovery(r) if r.debris_len > 0);
        assert_eq!(bodies(&model.files()).iter().any(is), torn, "{end}");
        assert_eq!(report.segments, if torn { 2 } else { 1 });
    }
}

#[test]
fn refuses_a_log_behind_its_signer_f08() {
    let (mut files, signer) = ended_well();
    let size = signer.held().size;
    let log = files.get_mut("proxy.jsonl").unwrap();
    let lines: Vec<_> = log.split_inclusive(|byte| *byte == b'\n').collect();
    *log = lines[..lines.len() - 2].concat();
    let before = files.clone();
    let model = Model::holding(&files);
    let ended = live(&model, &signer, &[]).ended;
    assert!(
        matches!(ended, Err(Failure::BehindSigner { log, signer }) if log + 1 == signer && signer == size),
        "{ended:?}"
    );
    assert_eq!(model.files(), before);
    let ended = live(&Model::new(), &signer, &[]).ended;
    assert!(matches!(ended, Err(Failure::BehindSigner { log: 0, .. })), "{ended:?}");
}

#[test]
fn refuses_a_log_beside_its_signer_f09() {
    let (files, signer) = ended_well();
    signer.held().root[0] ^= 1;
    let ended = live(&Model::holding(&files), &signer, &[]).ended;
    assert!(matches!(ended, Err(Failure::Fork(_))), "{ended:?}");
}

#[test]
fn a_lost_answer_of_the_signer_is_a_conflict_and_no_fork_f10() {
    for at in 0..4 {
        let (model, signer) = (Model::new(), Double::new());
        live(&model, &signer, &[]).ended.unwrap();
        // The greeting, then `at` answers that arrive.
        signer.held().mute = Some(1 + at);
        live(&model, &signer, &script()).ended.unwrap();
        assert_eq!(signer.held().mute, None, "answer {at} was not lost");
        assert_eq!(verify(&model.files()).verdict, Verdict::Ok, "{}", verify(&model.files()));
    }
}

#[test]
fn a_failed_flush_is_believed_once_and_for_all_f13() {
    let signer = Double::new();
    let mut failed = 0;
    for at in 0.. {
        *signer.held() = *Double::new().held();
        let model = Model::new();
        model.arm(at, Trouble::Fail(Errno::EIO));
        let script = script();
        let life = live(&model, &signer, &script);
        failed += usize::from(life.ended.is_err());
        let acknowledged = life.acknowledged(&script);
        let held = *signer.held();
        for files in model.survivors() {
            demand(&files, &signer, held, &acknowledged, &format!("failure at {at}"));
        }
        if model.operations() <= at {
            break;
        }
    }
    assert!(failed > 10, "only {failed} failures ended a life");
}

#[test]
fn a_short_write_is_never_glued_to_the_next_line_f12() {
    let signer = Double::new();
    for at in 0.. {
        *signer.held() = *Double::new().held();
        let model = Model::new();
        model.arm(at, Trouble::Short);
        let script = script();
        let life = live(&model, &signer, &script);
        let held = *signer.held();
        let acknowledged = life.acknowledged(&script);
        demand(&model.files(), &signer, held, &acknowledged, &format!("short at {at}"));
        if model.operations() <= at {
            break;
        }
    }
}

#[test]
fn lines_that_read_back_otherwise_are_never_signed_f21() {
    let (files, signer) = ended_well();
    let before = signer.held().size;
    let model = Model::holding(&files);
    model.lie_when_read(files["proxy.jsonl"].len());
    let ended = live(&model, &signer, &[]).ended;
    assert!(matches!(ended, Err(Failure::Poisoned)), "{ended:?}");
    assert_eq!(signer.held().size, before);
}

/// A life that is talked with.
struct Conversation {
    queue: SyncSender<Job>,
    peer: Arc<Peer>,
    ours: UnixStream,
    life: JoinHandle<Result<(), Failure>>,
}

impl Conversation {
    fn with(model: &Model, signer: &Arc<Double>, clock: fn() -> Stamp) -> Self {
        let (queue, jobs) = sync_channel(16);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (model, signer, own) = (model.clone(), Arc::clone(signer), queue.clone());
        let life = thread::spawn(move || serve(&model, &signer, own, jobs, clock));
        Self { queue, peer: Arc::new(Peer::new(theirs)), ours, life }
    }

    fn ask(&mut self, event: Event) -> Outcome {
        let peer = Arc::clone(&self.peer);
        self.queue.send(Job::Append { id: 0, event, peer }).unwrap();
        let frame = link::read_frame(&mut self.ours, append::CAP).unwrap();
        codec::decode::<Reply>(&frame).unwrap().outcome
    }

    fn end(self) {
        self.queue.send(Job::Stop).unwrap();
        self.life.join().unwrap().unwrap();
    }
}

const POLICY: &[u8] = b"{}";

fn outcome(req_no: u64) -> Event {
    Event::Outcome { at: RequestRef { inst: INST, req_no }, sent: Sent::All, status: None }
}

fn is_appended(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Appended { .. })
}

/// Milliseconds that pass only when the trial with the absent signer says so.
static PASSED: AtomicU64 = AtomicU64::new(1_000);

fn passing() -> Stamp {
    let passed = PASSED.load(Ordering::Relaxed);
    Stamp { wall_ms: 1_700_000_000_000 + passed, up_ms: passed }
}

#[test]
fn egress_closes_while_the_signer_is_away_and_reopens_with_it_f16() {
    let (model, signer) = (Model::new(), Arc::new(Double::new()));
    let mut talk = Conversation::with(&model, &signer, passing);
    assert!(is_appended(talk.ask(Event::Policy { canonical: POLICY.to_vec() })));
    assert!(is_appended(talk.ask(redaction(1, 1))));
    signer.held().away = true;
    PASSED.fetch_add(59_000, Ordering::Relaxed);
    assert!(is_appended(talk.ask(redaction(2, 1))));
    PASSED.fetch_add(2_000, Ordering::Relaxed);
    let refused = Outcome::Refused(Refusal::UnsignedTail);
    assert_eq!(talk.ask(redaction(3, 1)), refused);
    assert!(is_appended(talk.ask(outcome(1))), "what is no egress is still evidence");
    signer.held().away = false;
    while talk.ask(redaction(3, 1)) == refused {
        PASSED.fetch_add(1_000, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(10));
    }
    talk.end();
    let files = model.files();
    assert_eq!(verify(&files).verdict, Verdict::Ok, "{}", verify(&files));
    assert_eq!([1, 2, 3].map(|req_no| redacted(&files, req_no)), [1; 3]);
}

#[test]
fn a_full_disk_closes_egress_and_says_so_f12() {
    let (model, signer) = (Model::new(), Arc::new(Double::new()));
    let mut talk = Conversation::with(&model, &signer, Stamp::now);
    assert!(is_appended(talk.ask(Event::Policy { canonical: POLICY.to_vec() })));
    assert!(is_appended(talk.ask(redaction(1, 1))));
    model.set_free(1 << 20);
    assert_eq!(talk.ask(redaction(2, 1)), Outcome::Refused(Refusal::DiskFull));
    assert!(is_appended(talk.ask(outcome(1))));
    model.set_free(1 << 30);
    assert!(is_appended(talk.ask(redaction(2, 1))));
    talk.end();
    let files = model.files();
    assert_eq!(verify(&files).verdict, Verdict::Ok, "{}", verify(&files));
    let said = |body| if let Body::Disk(disk) = body { Some(disk.state.as_str()) } else { None };
    let said: Vec<_> = bodies(&files).into_iter().filter_map(said).collect();
    assert_eq!(said, ["reserve", "recovered"]);
}
