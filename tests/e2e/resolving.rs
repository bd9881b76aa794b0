//! Names resolve as the system would resolve them, also when that changes.

use std::path::Path;
use std::process::Command;

use harness::agent::Agent;
use harness::executables::executable;
use harness::provider::Provider;
use harness::secrets;
use harness::shape::SHAPES;
use harness::waterwall::Waterwall;

const URL: &str = "https://api.anthropic.com/v1/messages";

/// `unshare` with a mount namespace of its own; none where this user may not have one.
fn own_mounts() -> Option<Command> {
    [["--mount"].as_slice(), &["--mount", "--map-root-user"]].into_iter().find_map(|options| {
        let mut command = Command::new("unshare");
        command.args(options);
        let allowed = Command::new("unshare").args(options).arg("true").status();
        allowed.is_ok_and(|status| status.success()).then_some(command)
    })
}

fn map(hosts: &Path, address: &str) {
    std::fs::write(hosts, format!("{address} provider.test\n")).expect("a file");
}

/// The proxy's sandbox keeps it from reading `/etc/hosts`; the supervisor tells it.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_hosts_file_reaches_the_running_proxy() {
    let Some(mut ctl) = own_mounts() else { return };
    let provider = Provider::echo().await;
    let mut waterwall = Waterwall::lay_out(&provider, "");
    let upstream = provider.address().to_string();
    let file = waterwall.path("etc/permitted_hosts.yaml");
    let text = std::fs::read_to_string(&file).expect("a file");
    let named = format!("provider.test:{}", provider.address().port());
    std::fs::write(&file, text.replace(&upstream, &named)).expect("a file");
    // Nobody listens there, and no name server is asked while the hosts file knows the name.
    let hosts = waterwall.path("hosts");
    map(&hosts, "127.0.0.2");
    ctl.args(["sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""])
        .args([hosts.as_path(), executable("waterwall-ctl").as_path()]);
    waterwall.up_by(ctl);
    let agent = Agent::new(&waterwall);
    let request = SHAPES[0].request(secrets::AWS);
    let refused = agent.post(URL, &request).await;
    let code = refused.headers().get("x-waterwall-error").cloned();
    assert_eq!(code.expect("a code"), "waterwall-upstream-failed");
    map(&hosts, "127.0.0.1");
    for _ in 0..300 {
        if agent.post(URL, &request).await.status().is_success() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the proxy never heard of the change");
}
