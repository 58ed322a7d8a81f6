//! The tenant from which each integration was collected, and frames that were written under another
//! stream name than the present one.
//!
//! Frames keep the name under which they were written. While the index is intact they are found by
//! their stream's number, which a rename does not change; an index that is built from the log uses
//! the `Move`s. Promises: only adds to the formats (`u` and `m` of the index, part `o` of the
//! checkpoint); a queue without them opens. Never: holds a secret; a tenant's address has no user
//! and no path.

use std::collections::BTreeMap;

use super::index::{Batch, Pair};
use super::schema;
use crate::frame::Fields;
use crate::limits::{NAME_MOVES_MAX, TENANT_URL_BYTES_MAX};
use crate::record::{Category, Seq, StreamName};

const VERSION: u8 = 1;

/// A stream got another name, or began anew; applies to its frames before a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Move {
    /// Increases with each move, so that they are applied in the order in which they were made.
    pub number: u64,
    pub from: StreamName,
    /// The integration whose stream of the same kind it became; `None`: the position was given up.
    pub to: Option<String>,
    /// The first frame to which the move does not apply.
    pub before: Seq,
}

/// To which stream's progress a frame of the log contributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Stream(StreamName),
    /// The frame is delivered like any other and its ids are known, but its stream was set back or
    /// began anew since it was written.
    Nobody(StreamName),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Origins {
    tenants: BTreeMap<String, String>,
    moves: Vec<Move>,
}

impl Origins {
    /// The tenant that an integration was collected from, if that is known.
    pub fn tenant(&self, integration: &str) -> Option<&str> {
        self.tenants.get(integration).map(String::as_str)
    }

    /// Each integration with the tenant that it was collected from.
    pub fn tenants(&self) -> impl ExactSizeIterator<Item = (&String, &String)> {
        self.tenants.iter()
    }

    /// Notes the tenant of an integration. An address that is too long to be stored counts as
    /// unknown.
    pub fn learn(&mut self, integration: &str, tenant: &str, batch: &mut Batch) {
        if tenant.len() > TENANT_URL_BYTES_MAX {
            return self.forget(integration, batch);
        }
        self.tenants.insert(integration.to_owned(), tenant.to_owned());
        batch.put(schema::tenant_key(integration), tenant_value(tenant));
    }

    pub fn forget(&mut self, integration: &str, batch: &mut Batch) {
        if self.tenants.remove(integration).is_some() {
            batch.remove(schema::tenant_key(integration));
        }
    }

    /// Notes that the frames of a stream before this number belong to another name.
    pub fn note(&mut self, from: StreamName, to: Option<String>, before: Seq, batch: &mut Batch) {
        let number = self.moves.last().map_or(1, |last| last.number + 1);
        let too_many = (self.moves.len() + 1).saturating_sub(NAME_MOVES_MAX);
        let gone = self.moves.drain(..too_many);
        gone.for_each(|old| batch.remove(schema::move_key(old.number)));
        let made = Move { number, from, to, before };
        batch.put(schema::move_key(number), made.encode());
        self.moves.push(made);
    }

    /// The owner of the frame with this name and number.
    pub fn owner(&self, name: &StreamName, seq: Seq) -> Owner {
        let (mut now, mut is_nobodys) = (name.clone(), false);
        for step in &self.moves {
            if step.from != now || seq >= step.before {
                continue;
            }
            match &step.to {
                Some(to) => now.integration.clone_from(to),
                None => is_nobodys = true,
            }
        }
        if is_nobodys { Owner::Nobody(now) } else { Owner::Stream(now) }
    }

    /// All rows, for a new index.
    pub fn pairs(&self) -> Vec<Pair> {
        let tenants = self.tenants.iter();
        let tenants =
            tenants.map(|(name, tenant)| (schema::tenant_key(name), tenant_value(tenant)));
        let moves = self.moves.iter().map(|step| (schema::move_key(step.number), step.encode()));
        tenants.chain(moves).collect()
    }

    /// Loads a tenant's row of the index.
    pub fn load_tenant(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let integration = String::from_utf8(key.get(1..)?.to_vec()).ok()?;
        let mut fields = Fields(value);
        if fields.u8()? != VERSION {
            return None;
        }
        self.tenants.insert(integration, text_u16(&mut fields)?);
        Some(())
    }

    /// Loads a move's row of the index; they are stored in the order of their numbers.
    pub fn load_move(&mut self, value: &[u8]) -> Option<()> {
        self.moves.push(Move::decode(&mut Fields(value))?);
        Some(())
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&(self.tenants.len() as u32).to_le_bytes());
        for (integration, tenant) in &self.tenants {
            put_text_u8(&mut out, integration);
            put_text_u16(&mut out, tenant);
        }
        out.extend_from_slice(&(self.moves.len() as u32).to_le_bytes());
        self.moves.iter().for_each(|step| out.extend_from_slice(&step.encode()));
        out
    }

    pub fn decode(fields: &mut Fields<'_>) -> Option<Origins> {
        if fields.u8()? != VERSION {
            return None;
        }
        let mut origins = Origins::default();
        for _ in 0..fields.u32()? {
            let integration = fields.text_u8()?;
            origins.tenants.insert(integration, text_u16(fields)?);
        }
        for _ in 0..fields.u32()? {
            origins.moves.push(Move::decode(fields)?);
        }
        Some(origins)
    }
}

impl Move {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.from.category.code()];
        put_text_u8(&mut out, &self.from.integration);
        // The empty name encodes `None`: an integration's name is never empty.
        put_text_u8(&mut out, self.to.as_deref().unwrap_or(""));
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.before.0.to_le_bytes());
        out
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Move> {
        if fields.u8()? != VERSION {
            return None;
        }
        let category = Category::from_code(fields.u8()?)?;
        let (integration, to) = (fields.text_u8()?, fields.text_u8()?);
        let from = StreamName { integration, category };
        let (number, before) = (fields.u64()?, Seq(fields.u64()?));
        Some(Move { number, from, to: (!to.is_empty()).then_some(to), before })
    }
}

fn tenant_value(tenant: &str) -> Vec<u8> {
    let mut out = vec![VERSION];
    put_text_u16(&mut out, tenant);
    out
}

fn put_text_u8(out: &mut Vec<u8>, text: &str) {
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

fn put_text_u16(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn text_u16(fields: &mut Fields<'_>) -> Option<String> {
    let len = usize::from(fields.u16()?);
    let (text, rest) = fields.0.split_at_checked(len)?;
    fields.0 = rest;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Kind;

    fn name(integration: &str) -> StreamName {
        StreamName::polled(integration, Kind::Threats)
    }

    /// Moves in words: `a>b<5` is that frames of a before 5 are b's; without b they are nobody's.
    fn moved(words: &str) -> Origins {
        let mut origins = Origins::default();
        for word in words.split_whitespace() {
            let (from, rest) = word.split_once('>').unwrap();
            let (to, before) = rest.split_once('<').unwrap();
            let to = (!to.is_empty()).then(|| to.to_owned());
            let before = Seq(before.parse().unwrap());
            origins.note(name(from), to, before, &mut Batch::default());
        }
        origins
    }

    #[test]
    fn a_frame_belongs_to_whoever_its_name_became_after_it_was_written() {
        for (words, from, seq, owner) in [
            ("", "a", 1, "a"),
            ("a>b<5", "a", 4, "b"),
            ("a>b<5", "a", 5, "a"),
            ("a>b<5", "c", 4, "c"),
            // Twice, without a frame in between, whatever the names' order.
            ("c>b<5 b>a<5", "c", 4, "a"),
            ("c>b<5 b>a<9", "b", 7, "a"),
            // There and back.
            ("a>b<5 b>a<9", "a", 4, "a"),
            ("a>b<5 b>a<9", "b", 8, "a"),
            // The name came into use again for another tenant.
            ("a>b<5 a>c<9", "a", 4, "b"),
            ("a>b<5 a>c<9", "a", 5, "c"),
            ("a><5", "a", 4, "-a"),
            ("a>b<5 b><9", "a", 4, "-b"),
            ("a><5 a>b<9", "a", 4, "-b"),
            // A name that had begun, and took over another one's position.
            ("b><5 a>b<5", "a", 4, "b"),
            ("b><5 a>b<5", "b", 4, "-b"),
            ("b><5 a>b<5", "b", 5, "b"),
            ("a><5 a>b<9", "a", 6, "b"),
        ] {
            let found = match moved(words).owner(&name(from), Seq(seq)) {
                Owner::Stream(name) => name.integration,
                Owner::Nobody(name) => format!("-{}", name.integration),
            };
            assert_eq!(found, owner, "{words}: {from} {seq}");
        }
        let other_kind = StreamName::polled("a", Kind::Alerts);
        let owner = moved("a>b<5").owner(&other_kind, Seq(1));
        assert_eq!(owner, Owner::Stream(other_kind));
    }

    #[test]
    fn what_was_written_is_read_and_half_of_it_is_not() {
        let mut origins = moved("a>b<5 b><9");
        origins.learn("b", "https://x.sentinelone.net", &mut Batch::default());
        let bytes = origins.encode();
        assert_eq!(Origins::decode(&mut Fields(&bytes)), Some(origins.clone()));
        for len in 0..bytes.len() {
            assert_eq!(Origins::decode(&mut Fields(&bytes[..len])), None, "{len}");
        }
        let mut loaded = Origins::default();
        for (key, value) in origins.pairs() {
            match key[0] {
                b'u' => loaded.load_tenant(&key, &value).unwrap(),
                _ => loaded.load_move(&value).unwrap(),
            }
        }
        assert_eq!(loaded, origins);
    }

    #[test]
    fn of_too_many_moves_the_oldest_goes() {
        let mut origins = moved("a>b<5");
        let mut batch = Batch::default();
        for _ in 0..NAME_MOVES_MAX {
            origins.note(name("x"), None, Seq(60), &mut batch);
        }
        assert_eq!((origins.moves.len(), origins.moves[0].number), (NAME_MOVES_MAX, 2));
        let removed = batch.changes.iter().filter(|(_, value)| value.is_none());
        assert_eq!(removed.map(|(key, _)| key.clone()).collect::<Vec<_>>(), [schema::move_key(1)]);
    }

    #[test]
    fn an_address_too_long_to_be_kept_is_not_known() {
        let mut origins = Origins::default();
        let mut batch = Batch::default();
        let longest = "x".repeat(TENANT_URL_BYTES_MAX);
        origins.learn("a", &longest, &mut batch);
        assert_eq!(origins.tenant("a"), Some(&*longest));
        origins.learn("a", &"x".repeat(TENANT_URL_BYTES_MAX + 1), &mut batch);
        assert_eq!(origins.tenant("a"), None);
        assert_eq!(batch.changes.last(), Some(&(schema::tenant_key("a"), None)));
    }
}
