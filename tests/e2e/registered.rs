//! Values that an operator registers, and values that were tokenized before.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use harness::agent::Agent;
use harness::executables::executable;
use harness::provider::Provider;
use harness::secrets;
use harness::shape::SHAPES;
use harness::waterwall::{Waterwall, eventually, said};
use serde_json::{Value, json};

/// No pattern knows it.
const OWN: &str = "correct-Horse/battery staple";

/// Runs `waterwall-ctl secret …` with `input` on its standard input.
fn secret(waterwall: &Waterwall, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(executable("waterwall-ctl"))
        .args(["secret", "--json"])
        .args(arguments)
        .env("WATERWALL_HOME", waterwall.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("waterwall-ctl runs");
    let mut stdin = child.stdin.take().expect("it has a standard input");
    // One that refuses its arguments may end before it reads.
    if let Err(error) = stdin.write_all(input.as_bytes()) {
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn told(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

/// Processes whose arguments or environment hold `needle`.
fn processes_holding(needle: &str) -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").expect("there is a proc file system").flatten();
    let files = processes.flat_map(|entry| ["cmdline", "environ"].map(|of| entry.path().join(of)));
    let holds = |file: &PathBuf| {
        fs::read(file).is_ok_and(|text| text.windows(needle.len()).any(|w| w == needle.as_bytes()))
    };
    files.filter(holds).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn q4_a_registered_value_leaves_in_no_spelling_and_comes_back_in_each() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let added = told(&secret(&waterwall, &["add", "--type", "DB_PASSWORD"], &format!("{OWN}\n")));
    assert_eq!(added, json!({"id": 1, "type": "DB_PASSWORD", "new": true}));
    let base64 = "Y29ycmVjdC1Ib3JzZS9iYXR0ZXJ5IHN0YXBsZQ==";
    let hex = "636f72726563742d486f7273652f62617474657279207374617]";
    let hex = hex.replace(']', "06c65");
    let percent = "correct-Horse%2Fbattery%20staple";
    let shape = SHAPES[0];
    for spelt in [OWN, base64, &hex, &hex.to_uppercase(), percent, "correct-Horse\\/battery staple"]
    {
        let text = format!("it is x{spelt}x, and no other");
        let answer = agent.post_json(shape.url(), &shape.request(&text)).await;
        assert_eq!(shape.text_of(&answer), text);
        let seen = provider.last();
        assert!(seen.text().contains("<pl:DB_PASSWORD:"), "{spelt}: {}", seen.text());
        assert!(!seen.text().contains(&spelt[4..spelt.len() - 4]), "{spelt}: {}", seen.text());
    }
    let listed = told(&secret(&waterwall, &["list"], ""));
    assert_eq!(
        (&listed["secrets"][0]["hits"], &listed["secrets"][0]["id"]),
        (&json!(6), &json!(1))
    );
    assert!(!listed.to_string().contains("orse"), "{listed}");
    assert_eq!(waterwall.status()["proxy"]["store"]["registered"], 1);
    let url = format!("{}?note=x{percent}", shape.url());
    assert_eq!(agent.post(&url, &shape.request("hello")).await.status(), 400);
    for needle in [OWN, base64, &hex] {
        assert!(!provider.saw(needle));
        assert_eq!(waterwall.files_holding(needle), Vec::<PathBuf>::new());
        assert_eq!(processes_holding(needle), Vec::<PathBuf>::new());
    }
    assert_eq!(told(&secret(&waterwall, &["remove"], OWN)), json!({"removed": 1}));
    agent.post_json(shape.url(), &shape.request(OWN)).await;
    assert!(provider.last().text().contains(OWN), "what is removed is no secret any more");
    assert_eq!(waterwall.verify_chain().status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn q4_what_stands_everywhere_is_not_registered() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    for value in ["true", "localhost\n", "short", "application/json", "api.anthropic.com", ""] {
        let refused = secret(&waterwall, &["add"], value);
        assert_eq!(refused.status.code(), Some(1), "{value}: {}", said(&refused));
    }
    for arguments in [&["add", "--type", "no such"][..], &["add", OWN], &["remove", OWN]] {
        let refused = secret(&waterwall, arguments, OWN);
        assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
        assert!(!said(&refused).contains("orse"), "{}", said(&refused));
    }
    assert_eq!(secret(&waterwall, &["remove", "7"], "").status.code(), Some(1));
    assert_eq!(told(&secret(&waterwall, &["list"], "")), json!({"secrets": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn q4_the_values_of_an_env_file_are_registered_until_the_proxy_ends() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join(".env");
    let text = "# made up\nNODE_ENV=production\nexport DB_PASSWORD='kumquat & marmalade' # hm\n\
                PORT=8080\nTOKEN=\"two\nlines of it\"\nAGAIN='kumquat & marmalade'\n";
    fs::write(&file, text).expect("the file can be written");
    let path = file.to_str().expect("the path is UTF-8");
    let added = told(&secret(&waterwall, &["add", "--env-file", path], ""));
    assert_eq!(
        added["added"],
        json!([{"name": "DB_PASSWORD", "id": 1}, {"name": "TOKEN", "id": 2}])
    );
    assert_eq!(added["known"], json!([{"name": "AGAIN", "id": 1}]));
    let skipped: Vec<&Value> =
        added["skipped"].as_array().expect("a list").iter().map(|it| &it["name"]).collect();
    assert_eq!(skipped, ["NODE_ENV", "PORT"]);
    let shape = SHAPES[0];
    let text = "is it kumquat & marmalade, or two\nlines of it?";
    let answer = agent.post_json(shape.url(), &shape.request(text)).await;
    assert_eq!(shape.text_of(&answer), text);
    assert_eq!(provider.last().text().matches("<pl:REGISTERED:").count(), 2);
    waterwall.replace("proxy");
    assert_eq!(waterwall.status()["proxy"]["store"]["registered"], 0, "nothing touches disk");
    let status = waterwall.status();
    assert_eq!(status["healthy"], false, "what was to be kept back is not any more: {status}");
    assert_eq!(status["roles"]["proxy"]["values_lost"], 2);
    told(&secret(&waterwall, &["add", "--env-file", path], ""));
    eventually("they are there again", || waterwall.status()["healthy"] == true);
    waterwall.replace("proxy");
    assert_eq!(waterwall.status()["healthy"], false);
    assert_eq!(told(&secret(&waterwall, &["remove", "--all"], "")), json!({"removed": 0}));
    eventually("they are not missed", || waterwall.status()["healthy"] == true);
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_a_value_once_tokenized_is_tokenized_where_its_shape_does_not_show() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let shape = SHAPES[0];
    let glued = format!("X{}X", secrets::AWS);
    agent.post_json(shape.url(), &shape.request(&glued)).await;
    assert!(provider.last().text().contains(&glued), "letters beside it hide it at first");
    agent.post_json(shape.url(), &shape.request(secrets::AWS)).await;
    let own = provider.last();
    let placeholder = own.text().find("<pl:AWS_ACCESS_KEY:").map(|at| &own.text()[at..at + 36]);
    let placeholder = placeholder.expect("the key is replaced");
    let answer = agent.post_json(shape.url(), &shape.request(&glued)).await;
    assert_eq!(shape.text_of(&answer), glued);
    assert!(provider.last().text().contains(&format!("X{placeholder}X")));
    // Its shape makes it a secret of every client; and one request alone can show both.
    let other = Agent::with_key(&waterwall, "another key");
    let both = format!("X{0}X and {0}", secrets::GITHUB);
    for text in [&glued, &both] {
        let answer = other.post_json(shape.url(), &shape.request(text)).await;
        assert_eq!(&shape.text_of(&answer), text);
        let seen = provider.last();
        assert!(!seen.text().contains(secrets::GITHUB) && !seen.text().contains(secrets::AWS));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p7_a_placeholder_that_a_client_sends_is_data_and_comes_back_as_it_went() {
    let provider = Provider::echo().await;
    let waterwall = Waterwall::start(&provider);
    let agent = Agent::new(&waterwall);
    let shape = SHAPES[0];
    agent.post_json(shape.url(), &shape.request(secrets::AWS)).await;
    let own = provider.last();
    let at = own.text().find("<pl:AWS_ACCESS_KEY:").expect("the key is replaced");
    let copied = &own.text()[at..at + 36];
    let hiding = format!("<pl:X:{}>", secrets::AWS);
    for text in [copied, &hiding] {
        let mut sent = Vec::new();
        for _ in 0..2 {
            let answer = agent.post_json(shape.url(), &shape.request(text)).await;
            assert_eq!(shape.text_of(&answer), text, "not the secret it stands for");
            sent.push(provider.last().text().to_owned());
        }
        assert_eq!(sent[0], sent[1], "the same text is the same placeholder");
        assert!(!sent[0].contains(text) && !sent[0].contains(secrets::AWS), "{}", sent[0]);
    }
}
