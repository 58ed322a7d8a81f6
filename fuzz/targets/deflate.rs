//! Feeds the deflater of `bytes` what libFuzzer finds. It stands here and not in `src/fuzz.rs`, because
//! one of its two inflaters is none of the program's.
#![no_main]

use flate2::{Decompress, FlushDecompress, Status};
use libfuzzer_sys::fuzz_target;
use s1_coralogix_bytes::deflate::Deflater;

// Whatever was deflated before, both inflaters give the text back, and the blocks are not too long.
fuzz_target!(|data: &[u8]| {
    let (times, data) = data.split_first().map_or((1, data), |(times, rest)| (1 + times % 64, rest));
    let long = data.repeat(times.into());
    let mut deflater = Deflater::default();
    for text in [data, &long] {
        let mut blocks = Vec::new();
        deflater.deflate(text, &mut blocks);
        assert!(blocks.len() <= text.len() + 5 * text.len().div_ceil(0xffff) + 10);
        // A final stored block ends what has none.
        blocks.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
        let mut inflated = Vec::with_capacity(text.len() + 1);
        let status =
            Decompress::new(false).decompress_vec(&blocks, &mut inflated, FlushDecompress::Finish);
        assert!(matches!(status, Ok(Status::StreamEnd)) && inflated == text);
        assert!(miniz_oxide::inflate::decompress_to_vec(&blocks).is_ok_and(|other| other == text));
    }
});
