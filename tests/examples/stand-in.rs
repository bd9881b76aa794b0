//! A provider stand-in for stories told by hand or by a script.
//!
//! `stand-in CA_FILE SEEN_FILE` answers for the four default hosts on a free port, writes its CA
//! certificate to CA_FILE, prints its address, and appends each body it sees to SEEN_FILE.

use std::io::Write;
use std::time::Duration;

use harness::provider::Provider;

#[expect(clippy::print_stdout, reason = "its output is the address")]
#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(ca), Some(seen)) = (arguments.next(), arguments.next()) else {
        return Err(std::io::Error::other("usage: stand-in CA_FILE SEEN_FILE"));
    };
    let provider = Provider::echo().await;
    std::fs::write(ca, provider.ca_pem())?;
    let mut file = std::fs::File::create(seen)?;
    println!("{}", provider.address());
    let mut written = 0;
    loop {
        for request in provider.seen().into_iter().skip(written) {
            file.write_all(&request.body)?;
            file.write_all(b"\n")?;
            written += 1;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
