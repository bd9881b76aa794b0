//! Answers that are event streams: however they are cut on the way, the client gets the same bytes,
//! and where nothing could begin a placeholder it gets those that came.
#![no_main]

use fuzz::{Answers, Nobody};
use libfuzzer_sys::fuzz_target;
use proxy::restore::sse::SseRestorer;
use proxy::restore::{Resolve, RestoreError, Restored};

fuzz_target!(|bytes: &[u8]| {
    let whole = through(bytes, bytes.len(), &Answers);
    for size in [1, 2, 5, 37] {
        assert_eq!(through(bytes, size, &Answers), whole, "in chunks of {size}");
    }
    // The openers of all spellings of a placeholder, and of an escape that could spell one.
    if !bytes.iter().any(|byte| matches!(byte, b'<' | b'&' | b'%' | b'\\')) {
        match whole {
            Ok(restored) => assert_eq!(restored.bytes, bytes),
            // What is not JSON and says `pl:` is refused unread, and so are too many lanes.
            Err(error) => {
                assert!(matches!(error, RestoreError::Malformed | RestoreError::TooLarge))
            }
        }
    }
    if let Ok(passed) = through(bytes, bytes.len(), &Nobody) {
        assert_eq!(passed.restored, 0);
    }
});

fn through(bytes: &[u8], size: usize, resolve: &dyn Resolve) -> Result<Restored, RestoreError> {
    let mut restorer = SseRestorer::new();
    let mut all = Restored::default();
    let mut add = |part: Restored| {
        all.bytes.extend(part.bytes);
        all.restored += part.restored;
        all.unknown += part.unknown;
        all.thinking.extend(part.thinking);
    };
    for chunk in bytes.chunks(size.max(1)) {
        add(restorer.push(chunk, resolve)?);
    }
    add(restorer.finish(resolve)?);
    Ok(all)
}
