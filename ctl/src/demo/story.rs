//! The story, told from the agent's first word to the auditor's last.

use std::fs;
use std::time::Instant;

use protocol::control;
use serde_json::Value;

use super::agent::{Agent, joined};
use super::evidence::{tamper, verify};
use super::instance::{Instance, files_below};
use super::prompt::{PLACEHOLDER, Prompt};
use super::provider::Provider;
use super::report::Report;
use crate::fault::{Fault, Kind};
use crate::links::ask_proxy;
use crate::output::Output;
use crate::supervise::record::Record;

/// Why a chapter could not be told to its end.
pub(super) type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// Tells it; `true` if every check held.
pub(super) async fn tell(out: Output) -> Result<bool, Fault> {
    let prompt = Prompt::draw()?;
    let mut report = Report::new(out);
    let provider = Provider::start().await.map_err(|trouble| {
        let what = format!("cannot start a provider on loopback: {trouble}");
        Fault::new(Kind::Unavailable, what, "check that 127.0.0.1 is up (ip addr show lo)")
    })?;
    let begun = Instant::now();
    let mut instance = Instance::start(&provider)?;
    let record = instance.ready().await?;
    let took = report.time("start", begun);
    report.tell(|paint| {
        let who = paint.strong("signer, auditd and proxy");
        format!("{who} made keys and a CA, and were ready after {took}")
    });
    let mut story = Story { prompt, provider, report };
    if let Err(trouble) = story.chapters(&mut instance, &record).await {
        story.report.check("the story was told to its end", false, &trouble.to_string());
    }
    drop(instance);
    let held = story.report.conclude();
    if held && !out.is_json() {
        out.text(NOW_YOU);
    }
    Ok(held)
}

struct Story {
    prompt: Prompt,
    provider: Provider,
    report: Report,
}

impl Story {
    async fn chapters(&mut self, instance: &mut Instance, record: &Record) -> Result<(), Trouble> {
        let agent = Agent::new(record.listen, &fs::read(instance.home().ca())?)?;
        self.one_body(&agent, &MESSAGES).await?;
        self.stream(&agent).await?;
        self.one_body(&agent, &CHAT).await?;
        self.refusals(&agent, instance).await?;
        self.evidence(instance)
    }

    /// A request answered by one JSON body.
    async fn one_body(&mut self, agent: &Agent, api: &Api) -> Result<(), Trouble> {
        let text = self.prompt.text();
        self.title(api.title);
        self.show("the agent sent", &text);
        let begun = Instant::now();
        let reply = agent.ask(api.host, api.path, &text, false).await?;
        let body = reply.accepted().await?.rest().await?;
        let took = self.report.time(api.timing, begun);
        self.provider_saw_placeholders()?;
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        let said = value.pointer(api.text).and_then(Value::as_str).unwrap_or_default();
        let command = value.pointer(api.tool_input).map(tool_command).unwrap_or_default();
        self.show("the agent got", said);
        self.report.check("the agent got every byte back", said == text, &took);
        self.report.check("also inside a tool call", command == text, "");
        Ok(())
    }

    /// The same as a live stream, which the provider interrupts until its beginning has arrived.
    async fn stream(&mut self, agent: &Agent) -> Result<(), Trouble> {
        let text = self.prompt.text();
        self.title("Anthropic Messages, streamed in pieces of five letters");
        self.show("the agent sent", &text);
        let begun = Instant::now();
        let reply = agent.ask(MESSAGES.host, MESSAGES.path, &text, true).await?;
        let mut reply = reply.accepted().await?;
        let first = reply.until("/delta/text").await;
        let took = self.report.time("first streamed words", begun);
        self.provider.go_on();
        let live = first.is_ok();
        let mut events = first.unwrap_or_default();
        events.extend(reply.rest().await?);
        self.provider_saw_placeholders()?;
        let said = joined(&events, "/delta/text");
        let command = tool_command(&Value::from(joined(&events, "/delta/partial_json")));
        self.show("the agent got", &said);
        let what = "its first words came while the provider still held back the rest";
        self.report.check(what, live, &took);
        self.report.check("the agent got every byte back", said == text, "");
        self.report.check("also inside a tool call, as valid JSON", command == text, "");
        Ok(())
    }

    /// What is not to leave, does not.
    async fn refusals(&mut self, agent: &Agent, instance: &Instance) -> Result<(), Trouble> {
        self.title("What is refused");
        let status = agent.connect_status("example.com").await?;
        self.report.check("a host nobody permitted", status == 403, &format!("status {status}"));
        let before = self.provider.seen().len();
        let arm = control::Request::Arm { reason: "demonstration".into() };
        let armed = ask_proxy(instance.home(), &arm).map_err(|fault| fault.what)?;
        let reply = agent.ask(MESSAGES.host, MESSAGES.path, "hello", false).await?;
        let code = reply.refusal().unwrap_or("no code");
        let held = matches!(armed, control::Reply::Done { .. })
            && code == "waterwall-killswitch-engaged"
            && self.provider.seen().len() == before;
        self.report.check("everything, once the kill switch is armed", held, code);
        Ok(())
    }

    /// What an auditor finds.
    fn evidence(&mut self, instance: &mut Instance) -> Result<(), Trouble> {
        self.title("The evidence");
        let stopped = instance.stop();
        self.report.check("the daemons stopped in order", stopped, "");
        let mut holding = Vec::new();
        for file in files_below(instance.folder())? {
            if self.prompt.leaks_into(&fs::read(&file)?) {
                holding.push(file.display().to_string());
            }
        }
        self.report.check("no file holds a secret", holding.is_empty(), &holding.join(", "));
        let begun = Instant::now();
        let verdict = verify(instance, &instance.home().log())?;
        self.report.time("verification", begun);
        self.report.check("the log verifies", verdict.exit_code == Some(0), &verdict.first_line);
        let (copy, seq) = tamper(instance)?;
        let verdict = verify(instance, &copy)?;
        // An altered line that is well-formed is contradicted by the next one's hash.
        let located = [seq, seq + 1]
            .iter()
            .any(|seq| verdict.first_line.contains(&format!("first failure at seq {seq}:")));
        let held = verdict.exit_code == Some(1) && located;
        let what = format!("with one bit flipped in line {seq} it fails, and says where");
        self.report.check(&what, held, &verdict.first_line);
        Ok(())
    }

    fn title(&self, what: &str) {
        self.report.tell(|paint| format!("\n{}", paint.strong(what)));
    }

    fn show(&self, who: &str, text: &str) {
        self.report.tell(|paint| format!("   {who}\n     {}", self.prompt.show(text, paint)));
    }

    fn provider_saw_placeholders(&mut self) -> Result<(), Trouble> {
        let body = self.provider.seen().pop().ok_or("the provider saw nothing")?;
        let value: Value = serde_json::from_slice(&body)?;
        let text = value.pointer("/messages/0/content").and_then(Value::as_str).unwrap_or_default();
        self.show("the provider saw", text);
        let placeholders = text.matches(PLACEHOLDER).count();
        let held = placeholders == 3 && !self.prompt.leaks_into(&body);
        let detail = format!("{placeholders} placeholders instead");
        self.report.check("the provider saw no secret", held, &detail);
        Ok(())
    }
}

/// The command in a tool's input, which is an object or JSON in a string.
fn tool_command(input: &Value) -> String {
    let parsed = match input {
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        other => other.clone(),
    };
    parsed["command"].as_str().unwrap_or_default().to_owned()
}

/// One of the two APIs, as the provider speaks it.
struct Api {
    title: &'static str,
    timing: &'static str,
    host: &'static str,
    path: &'static str,
    text: &'static str,
    tool_input: &'static str,
}

const MESSAGES: Api = Api {
    title: "Anthropic Messages, one JSON body",
    timing: "first request",
    host: "api.anthropic.com",
    path: "/v1/messages",
    text: "/content/0/text",
    tool_input: "/content/1/input",
};

const CHAT: Api = Api {
    title: "OpenAI Chat Completions, one JSON body",
    timing: "chat request",
    host: "api.openai.com",
    path: "/v1/chat/completions",
    text: "/choices/0/message/content",
    tool_input: "/choices/0/message/tool_calls/0/function/arguments",
};

const NOW_YOU: &str = "
Now a real agent, with folders of your own (made on first use):
  waterwall-ctl run -- claude        or codex, opencode, aider, curl …
  waterwall-ctl status               is everything well?
  waterwall-ctl verify-chain         what left this machine, provably
";
