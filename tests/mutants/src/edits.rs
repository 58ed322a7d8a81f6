//! Text that is put into a source, by place.

use std::collections::{BTreeMap, BTreeSet};

use syn::spanned::Spanned;

/// What opens at a place follows what closes there; of what opens the outer comes first, of what closes
/// the inner.
#[derive(Default)]
pub struct Edits {
    opens: BTreeMap<usize, Vec<String>>,
    closes: BTreeMap<usize, Vec<String>>,
    swaps: BTreeMap<usize, (usize, String)>,
}

impl Edits {
    pub fn open(&mut self, at: usize, text: String) {
        self.opens.entry(at).or_default().push(text);
    }

    pub fn close(&mut self, at: usize, text: String) {
        self.closes.entry(at).or_default().push(text);
    }

    /// Replaces what is between two places.
    pub fn swap(&mut self, from: usize, to: usize, with: String) {
        self.swaps.insert(from, (to, with));
    }

    /// Around both operands, and in the place of the operator.
    pub fn around_two(&mut self, e: &syn::ExprBinary, before: &str, between: &str, after: &str) {
        let (l, r) = (e.left.span().byte_range(), e.right.span().byte_range());
        self.open(l.start, before.to_owned());
        self.swap(l.end, r.start, between.to_owned());
        self.close(r.end, after.to_owned());
    }

    pub fn apply(&self, text: &str) -> String {
        let places = self.opens.keys().chain(self.closes.keys()).chain(self.swaps.keys());
        let mut places: BTreeSet<usize> = places.copied().collect();
        places.insert(text.len());
        let (mut out, mut at) = (String::new(), 0);
        for place in places {
            if place >= at {
                out.push_str(&text[at..place]);
                at = place;
            }
            self.closes.get(&place).into_iter().flatten().rev().for_each(|text| out.push_str(text));
            if let Some((end, with)) = self.swaps.get(&place) {
                out.push_str(with);
                at = *end;
            }
            self.opens.get(&place).into_iter().flatten().for_each(|text| out.push_str(text));
        }
        out
    }
}
