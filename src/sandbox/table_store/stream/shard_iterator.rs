//! Shard iterators: opaque to clients, checked so that nobody builds or bends one.

use xxhash_rust::xxh3::xxh3_64;

/// A place in a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardIterator {
    /// The Stream.
    pub stream_id: String,
    /// The shard's number in the Stream.
    pub shard: usize,
    /// How many records of the shard lie before it.
    pub position: usize,
    /// When it was given out, in milliseconds of the instance's clock.
    pub issued_ms: i64,
}

impl ShardIterator {
    /// As clients see it.
    pub fn encode(&self) -> String {
        let ShardIterator { stream_id, shard, position, issued_ms } = self;
        let text = format!("{stream_id}.{shard}.{position}.{issued_ms}");
        format!("{:016x}{}", xxh3_64(text.as_bytes()), hex::encode(text))
    }

    /// `None` for anything that [`ShardIterator::encode`] did not make.
    pub fn decode(text: &str) -> Option<ShardIterator> {
        let (check, text) = text.split_at_checked(16)?;
        let text = String::from_utf8(hex::decode(text).ok()?).ok()?;
        if check != format!("{:016x}", xxh3_64(text.as_bytes())) {
            return None;
        }
        let mut fields = text.split('.');
        let mut next = || fields.next();
        let (stream_id, shard, position, issued) = (next()?, next()?, next()?, next()?);
        Some(ShardIterator {
            stream_id: stream_id.to_owned(),
            shard: shard.parse().ok()?,
            position: position.parse().ok()?,
            issued_ms: issued.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iterator_is_read_as_it_was_given_out_and_a_bent_one_not_at_all() {
        let place =
            ShardIterator { stream_id: "t_170".to_owned(), shard: 3, position: 70_000, issued_ms: -5 };
        let text = place.encode();
        assert_eq!(ShardIterator::decode(&text), Some(place));
        for at in 0..text.len() {
            let mut bent = text.clone().into_bytes();
            bent[at] = if bent[at] == b'1' { b'2' } else { b'1' };
            assert_eq!(ShardIterator::decode(std::str::from_utf8(&bent).unwrap()), None, "{at}");
        }
        assert_eq!(ShardIterator::decode(""), None);
        assert_eq!(ShardIterator::decode("ünïcödé-ünïcödé-ünïcödé"), None);
    }
}
