//! "Did you mean": the known word nearest to a mistyped one, and what other programs call a setting.
//!
//! Promises: nothing is suggested that shares too little with what was typed.

/// Names that other programs use for the same thing, so that a habit gets a hint.
pub const OTHER_NAMES: [(&str, &str); 22] = [
    ("private_key", "api_key_file"),
    ("key", "api_key_file"),
    ("key_file", "api_key_file"),
    ("send_your_data_key", "api_key_file"),
    ("region", "domain"),
    ("endpoint", "url"),
    ("token", "api_token_file"),
    ("token_file", "api_token_file"),
    ("console", "tenant"),
    ("console_url", "tenant"),
    ("host", "tenant"),
    ("url", "tenant"),
    ("base_url", "tenant"),
    ("application", "application_name"),
    ("subsystem", "subsystem_name"),
    ("interval", "poll_interval"),
    ("since", "start"),
    ("path", "dir"),
    ("directory", "dir"),
    ("https_proxy", "proxy"),
    ("ca", "ca_file"),
    ("ca_cert", "ca_file"),
];

/// The known word nearest to `typed`, if it is near enough to be worth naming.
pub fn nearest<'k>(typed: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let typed = typed.to_ascii_lowercase();
    let allowed = (typed.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|word| (distance(&typed, word), word))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, word)| word)
}

/// Letters to add, remove, change or swap with their neighbour (optimal string alignment).
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = change.min(last[j] + 1).min(row[j - 1] + 1);
            let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if swapped {
                least = least.min(before_last[j - 2] + 1);
            }
            row.push(least);
        }
        before_last = last;
        last = row;
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["domain", "url", "api_key_file", "api_key"];
        for (typed, found) in [
            ("domian", Some("domain")),
            ("Domain", Some("domain")),
            ("api_kye", Some("api_key")),
            ("apikeyfile", Some("api_key_file")),
            ("ulr", Some("url")),
            ("zone", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), found, "{typed}");
        }
    }

    #[test]
    fn a_swap_counts_once() {
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
