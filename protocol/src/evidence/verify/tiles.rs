use std::io::{self, Read};

use super::Source;
use crate::evidence::merkle::Hash;

/// Leaf hashes in a full tile (c2sp.org/tlog-tiles).
pub(super) const WIDTH: usize = 256;

/// The path of level-0 tile `index`, with `width` leaf hashes.
fn path(index: u64, width: usize) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    let partial = if width < WIDTH { format!(".p/{width}") } else { String::new() };
    format!("tile/0/{path}{partial}")
}

/// The leaf hashes of the full tile `index`; `None` when there is none, or not of the right length.
pub(super) fn full(source: &dyn Source, index: u64) -> io::Result<Option<Vec<Hash>>> {
    read(source, index, WIDTH)
}

/// The first `wanted` leaf hashes of tile `index`, from the narrowest tile that has them.
pub(super) fn at_least(
    source: &dyn Source,
    index: u64,
    wanted: usize,
) -> io::Result<Option<Vec<Hash>>> {
    for width in wanted..=WIDTH {
        if let Some(mut hashes) = read(source, index, width)? {
            hashes.truncate(wanted);
            return Ok(Some(hashes));
        }
    }
    Ok(None)
}

fn read(source: &dyn Source, index: u64, width: usize) -> io::Result<Option<Vec<Hash>>> {
    let Some(file) = source.open(&path(index, width))? else { return Ok(None) };
    let mut bytes = Vec::with_capacity(width * 32);
    file.take(width as u64 * 32 + 1).read_to_end(&mut bytes)?;
    let (hashes, rest) = bytes.as_chunks::<32>();
    Ok((rest.is_empty() && hashes.len() == width).then(|| hashes.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tiles_as_tlog_tiles_does() {
        assert_eq!(path(0, 256), "tile/0/000");
        assert_eq!(path(1_234_067, 256), "tile/0/x001/x234/067");
        assert_eq!(path(1000, 17), "tile/0/x001/000.p/17");
    }
}
