//! The files of one config, as one text: `config.toml`, then those of its directory, in order.
//!
//! Promises: a place in the text leads back to the file, so that a finding names it and a secret is
//! judged by the permissions of the file that it stands in. Never: opens one.

use std::ops::Range;

/// One file of a config, as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Source<'t> {
    /// As findings name it.
    pub name: &'t str,
    pub text: &'t str,
    /// Its permissions; `None` where there is no file.
    pub mode: Option<u32>,
}

impl<'t> Source<'t> {
    /// A text that is no file.
    pub fn text(name: &'t str, text: &'t str) -> Source<'t> {
        Source { name, text, mode: None }
    }
}

/// All of them, one after the other with a line end in between.
pub(super) struct Files<'t> {
    pub text: String,
    parts: Vec<Part<'t>>,
}

/// Where a file lies in the whole text.
pub(super) struct Part<'t> {
    pub source: Source<'t>,
    pub range: Range<usize>,
}

impl<'t> Files<'t> {
    /// At least one; a text without a file is as good as an empty one.
    pub fn join(sources: &[Source<'t>]) -> Files<'t> {
        let nothing = [Source::text("config", "")];
        let sources = if sources.is_empty() { &nothing } else { sources };
        let (mut text, mut parts) = (String::new(), Vec::new());
        for source in sources {
            if !parts.is_empty() {
                text.push('\n');
            }
            let from = text.len();
            text.push_str(source.text);
            parts.push(Part { source: *source, range: from..text.len() });
        }
        Files { text, parts }
    }

    pub fn parts(&self) -> impl Iterator<Item = &Part<'t>> {
        self.parts.iter()
    }

    /// The file that a place lies in; its end belongs to it.
    pub fn at(&self, place: usize) -> &Part<'t> {
        let found = self.parts.iter().rev().find(|part| part.range.start <= place);
        found.unwrap_or(&self.parts[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_belongs_to_the_file_it_was_read_from() {
        let files = Files::join(&[
            Source::text("a", "x = 1"),
            Source::text("b", ""),
            Source::text("c", "y = 2\n"),
        ]);
        assert_eq!(files.text, "x = 1\n\ny = 2\n");
        let name = |place| files.at(place).source.name;
        assert_eq!([0, 4, 5, 6, 7, 12, 13, 99].map(name), ["a", "a", "a", "b", "c", "c", "c", "c"]);
        assert_eq!(Files::join(&[]).at(3).source.name, "config");
    }
}
