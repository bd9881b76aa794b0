//! A client: one conversation after another, over HTTP or a WebSocket, and a judgement of each answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use harness::agent::Agent;
use harness::coding;
use harness::shape::Shape;
use harness::socket::{self, Heard, Say};
use harness::waterwall::Waterwall;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::Soak;
use crate::conversation::Conversation;
use crate::dice::Dice;
use crate::turn::{Fault, Plan};

/// Longer than anything may take, the wait for another daemon included.
const HANGS: Duration = Duration::from_secs(60);

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// HTTP/1.1.
    H1(Shape),
    /// HTTP/2.
    H2(Shape),
    /// A WebSocket, on which only Responses are spoken.
    Ws,
}

/// In turn, so that any number of clients is mixed.
const WIRES: [Wire; 8] = [
    Wire::H1(Shape::Messages),
    Wire::H2(Shape::Messages),
    Wire::Ws,
    Wire::H1(Shape::Chat),
    Wire::H2(Shape::Chat),
    Wire::H1(Shape::Responses),
    Wire::H2(Shape::Responses),
    Wire::Ws,
];

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With the secrets back, byte for byte.
    Whole,
    /// In a way that the client sees.
    Failed(String),
    /// The provider's answer was none, and nobody can say what it should have been.
    Garbled,
    /// The client left.
    Left,
    /// As something that it is not. A violation.
    Wrong(String),
}

impl Wire {
    /// What client number `number` speaks.
    pub(crate) fn of(number: usize) -> Self {
        WIRES[number % WIRES.len()]
    }

    /// For the table.
    pub(crate) fn name(self, stream: bool) -> String {
        let form = if stream { "SSE" } else { "JSON" };
        match self {
            Self::H1(shape) => format!("HTTP/1.1 {form:<4} {shape:?}"),
            Self::H2(shape) => format!("HTTP/2   {form:<4} {shape:?}"),
            Self::Ws => "WebSocket     Responses".to_owned(),
        }
    }

    fn shape(self) -> Shape {
        match self {
            Self::H1(shape) | Self::H2(shape) => shape,
            Self::Ws => Shape::Responses,
        }
    }

    fn agent(self, waterwall: &Waterwall, number: usize) -> Agent {
        let key = format!("made-up-credential-{number}");
        match self {
            Self::H2(_) => Agent::with_key(waterwall, &key),
            Self::H1(_) | Self::Ws => Agent::http1_with_key(waterwall, &key),
        }
    }
}

/// Client number `number`, until the soak is over.
pub(crate) async fn live(soak: Arc<Soak>, number: usize) {
    let wire = Wire::of(number);
    let mut agent = wire.agent(&soak.waterwall, number);
    // Every fourth one knows what only the operator knows of.
    let registered = number.is_multiple_of(4) || wire == Wire::Ws && number % 8 == 2;
    let who = u64::try_from(number).expect("it is small");
    let (mut earlier, mut conversation) = (Vec::new(), Conversation::new(wire.shape()));
    let mut socket = None;
    let mut opened = None;
    for turn in 0.. {
        let mut dice = Dice::new(soak.options.seed, who, turn);
        let plan = Plan::new(&mut dice, &mut earlier, registered, soak.options.pause);
        sleep(Duration::from_millis(plan.pause)).await;
        if soak.over() {
            return;
        }
        if plan.fresh || conversation.is_long() {
            conversation = Conversation::new(wire.shape());
            socket = None;
            // Of some, a connection of their own.
            agent = wire.agent(&soak.waterwall, number);
        }
        // Nobody may say what is not registered yet with a new proxy.
        let known = if registered { Some(soak.known.read().await) } else { None };
        let calm = soak.calm();
        if opened != calm {
            // What was said on it meanwhile is about what is over.
            socket = None;
            opened = calm;
        }
        let answered = async {
            match wire {
                Wire::Ws => over_socket(&agent, &mut socket, &conversation, &plan).await,
                _ => over_http(&agent, &conversation, &plan).await,
            }
        };
        let hung = Ended::Wrong("it hung".into());
        let ended = timeout(HANGS, answered).await.unwrap_or(hung);
        drop(known);
        if ended != Ended::Whole {
            socket = None;
        }
        if ended == Ended::Whole {
            conversation.went_on(&plan);
        }
        let calm = calm.is_some() && calm == soak.calm();
        let name = wire.name(plan.stream);
        soak.tally.lock().expect("nobody panics while it holds this").add(
            &name,
            &plan,
            &ended,
            calm,
            &format!("{:.1} s, client {number}, turn {turn}", soak.begun.elapsed().as_secs_f64()),
        );
        soak.turns.fetch_add(1, Ordering::Relaxed);
    }
}

async fn over_http(agent: &Agent, conversation: &Conversation, plan: &Plan) -> Ended {
    let shape = conversation.shape();
    let body = plan.with_ride(conversation.request(&plan.text, true)).to_string();
    let request = match plan.coding {
        Some(coding) => agent
            .request(shape.url(), coding::encode(body.as_bytes(), coding))
            .header("content-encoding", coding),
        None => agent.request(shape.url(), body),
    };
    let mut answer = match request.header("accept-encoding", "identity").send().await {
        Ok(answer) => answer,
        Err(_) => return Ended::Failed("no answer".into()),
    };
    if plan.leaves {
        let _ = answer.chunk().await;
        return Ended::Left;
    }
    let status = answer.status();
    let code = answer.headers().get("x-waterwall-error").cloned();
    let Ok(text) = answer.text().await else { return Ended::Failed("cut".into()) };
    if !status.is_success() {
        let code = code.as_ref().and_then(|code| code.to_str().ok());
        return Ended::Failed(code.map_or_else(|| status.as_str().to_owned(), str::to_owned));
    }
    if let Some((_, event)) = text.split_once("event: error\n") {
        return Ended::Failed(code_of(event.trim_start_matches("data:")));
    }
    if plan.fault == Fault::Garbage {
        return Ended::Garbled;
    }
    if !plan.fault.spares_the_answer() {
        return Ended::Wrong(format!("{} came as complete", plan.fault.name()));
    }
    if plan.stream { judge_stream(shape, &text, plan) } else { judge_whole(shape, &text, plan) }
}

fn judge_stream(shape: Shape, stream: &str, plan: &Plan) -> Ended {
    let last = match shape {
        Shape::Messages => "\"message_stop\"",
        Shape::Chat => "[DONE]",
        Shape::Responses => "\"response.completed\"",
    };
    if !stream.contains(last) {
        return Ended::Wrong("a stream ended before its end".into());
    }
    if plan.tool {
        let agree = |arguments: &str| same(serde_json::from_str(arguments), plan);
        if !agree(&shape.joined_arguments(stream)) {
            return Ended::Wrong("arguments differ".into());
        }
        if !shape.snapshots(stream).iter().all(|snapshot| agree(snapshot)) {
            return Ended::Wrong("a snapshot of arguments differs".into());
        }
    } else {
        if shape.joined_text(stream) != plan.text {
            return Ended::Wrong("text differs".into());
        }
        if shape.snapshots(stream).iter().any(|snapshot| *snapshot != plan.text) {
            return Ended::Wrong("a snapshot of text differs".into());
        }
    }
    Ended::Whole
}

fn same(arguments: serde_json::Result<Value>, plan: &Plan) -> bool {
    arguments.is_ok_and(|arguments| arguments == plan.arguments())
}

fn judge_whole(shape: Shape, text: &str, plan: &Plan) -> Ended {
    let Ok(answer) = serde_json::from_str::<Value>(text) else {
        return Ended::Wrong("an answer is no JSON".into());
    };
    let agrees = if plan.tool {
        match shape {
            Shape::Messages => answer["content"][0]["input"] == plan.arguments(),
            Shape::Chat => {
                let call = &answer["choices"][0]["message"]["tool_calls"][0];
                same(in_string(&call["function"]["arguments"]), plan)
            }
            Shape::Responses => same(in_string(&answer["output"][0]["arguments"]), plan),
        }
    } else {
        shape.text_of(&answer) == plan.text
    };
    if agrees { Ended::Whole } else { Ended::Wrong("an answer differs".into()) }
}

/// The code of an error event.
fn code_of(event: &str) -> String {
    let event: Value = serde_json::from_str(event.trim()).unwrap_or_default();
    event["error"]["code"].as_str().unwrap_or("an error event").to_owned()
}

fn in_string(value: &Value) -> serde_json::Result<Value> {
    serde_json::from_str(value.as_str().unwrap_or_default())
}

async fn over_socket(
    agent: &Agent,
    socket: &mut Option<socket::Client>,
    conversation: &Conversation,
    plan: &Plan,
) -> Ended {
    if socket.is_none() {
        let answer = socket::handshake(agent, conversation.shape().url()).send().await;
        let Ok(answer) = answer else { return Ended::Failed("no answer".into()) };
        if answer.status() != 101 {
            let code = answer.headers().get("x-waterwall-error");
            let code = code.and_then(|code| code.to_str().ok()).unwrap_or("refused");
            return Ended::Failed(code.to_owned());
        }
        *socket = Some(socket::agreed(answer).await);
    }
    let client = socket.as_mut().expect("it is open");
    // The provider remembers what was said before, on this connection.
    let mut turn = plan.with_ride(conversation.request(&plan.text, false));
    turn["type"] = json!("response.create");
    if client.say(Say::event(&turn)).await.is_err() {
        return Ended::Failed("cut".into());
    }
    if plan.leaves {
        return Ended::Left;
    }
    let mut stream = String::new();
    loop {
        match client.hear().await {
            Heard::Text(text) => {
                if text.contains("\"type\":\"error\"") {
                    return Ended::Failed(code_of(&text));
                }
                stream.push_str(&format!("data: {text}\n\n"));
                if text.contains("\"type\":\"response.completed\"") {
                    break;
                }
            }
            Heard::Ping => {}
            Heard::Binary(_) => return Ended::Wrong("a binary message came through".into()),
            Heard::Close(_) | Heard::Cut => return Ended::Failed("closed".into()),
        }
    }
    if plan.fault.spares_the_answer() {
        judge_stream(Shape::Responses, &stream, plan)
    } else {
        Ended::Wrong(format!("{} came as complete", plan.fault.name()))
    }
}
