//! A picture that a browser made: read, judged for blankness, and written anew.
//!
//! Only pixels pass through: text chunks, profiles and whatever else a PNG can carry stay behind.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::path::Path;

/// A page whose pixels are all of one colour but for less than this share counts as blank.
const BLANK_SHARE: f64 = 0.001;

/// Largest picture that is read back, in pixels: Chromium makes no larger one of our window.
const PIXELS_MAX: u64 = 4096 * 4096;

/// Why a picture cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// Not a PNG that can be read.
    #[error("not a picture: {0}")]
    Decode(#[from] png::DecodingError),
    /// More pixels than a window of ours has.
    #[error("{0}x{1} pixels are too many")]
    TooLarge(u32, u32),
    /// The pixels cannot be written.
    #[error("cannot be written: {0}")]
    Encode(#[from] png::EncodingError),
    /// The file system refused.
    #[error("cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// A picture in memory, 8 bits per channel.
pub(super) struct Picture {
    width: u32,
    height: u32,
    colour: png::ColorType,
    pixels: Vec<u8>,
    /// Whether all pixels but a few have one colour.
    pub(super) blank: bool,
}

impl Picture {
    /// Reads a PNG.
    ///
    /// # Errors
    /// If it is none, or too large.
    pub(super) fn read(file: File) -> Result<Self, PictureError> {
        let mut decoder = png::Decoder::new(BufReader::new(file));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let info = decoder.read_header_info()?;
        let (width, height) = (info.width, info.height);
        if u64::from(width) * u64::from(height) > PIXELS_MAX {
            return Err(PictureError::TooLarge(width, height));
        }
        let mut reader = decoder.read_info()?;
        let mut pixels = vec![0; reader.output_buffer_size().ok_or(PictureError::TooLarge(width, height))?];
        let frame = reader.next_frame(&mut pixels)?;
        pixels.truncate(frame.buffer_size());
        let blank = is_blank(&pixels, frame.color_type.samples());
        Ok(Self { width, height, colour: frame.color_type, pixels, blank })
    }

    /// Writes the pixels and nothing else of what was in the file that was read.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub(super) fn write(&self, out: &Path) -> Result<(), PictureError> {
        let mut encoder = png::Encoder::new(BufWriter::new(File::create(out)?), self.width, self.height);
        encoder.set_color(self.colour);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        Ok(writer.finish()?)
    }
}

/// Whether all pixels but a few have one colour; `samples` is the number of bytes per pixel.
fn is_blank(pixels: &[u8], samples: usize) -> bool {
    let mut counts: HashMap<&[u8], u64> = HashMap::new();
    let mut all = 0_u64;
    // Neighbours are mostly alike, so runs are counted rather than pixels.
    for run in pixels.chunks_exact(samples).collect::<Vec<_>>().chunk_by(|a, b| a == b) {
        *counts.entry(run[0]).or_default() += run.len() as u64;
        all += run.len() as u64;
    }
    let most = counts.values().copied().max().unwrap_or(0);
    all == 0 || ((all - most) as f64) < BLANK_SHARE * all as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_means_one_colour_but_for_a_few_pixels() {
        for (different, want) in [(0, true), (9, true), (10, false), (5_000, false), (10_000, true)] {
            let mut pixels = vec![200; 100 * 100 * 3];
            pixels[..different * 3].fill(7);
            assert_eq!(is_blank(&pixels, 3), want, "{different}");
        }
        assert!(is_blank(&[], 4));
    }

    #[test]
    fn only_pixels_pass_through() {
        let dir = tempfile::tempdir().unwrap();
        let (given, made) = (dir.path().join("given.png"), dir.path().join("made.png"));
        let mut encoder = png::Encoder::new(File::create(&given).unwrap(), 2, 1);
        encoder.set_color(png::ColorType::Rgb);
        encoder.add_text_chunk("Comment".into(), "hidden".into()).unwrap();
        encoder.write_header().unwrap().write_image_data(&[1, 2, 3, 4, 5, 6]).unwrap();
        Picture::read(File::open(&given).unwrap()).unwrap().write(&made).unwrap();
        let bytes = std::fs::read(&made).unwrap();
        assert!(std::fs::read(&given).unwrap().windows(6).any(|w| w == b"hidden"));
        assert!(!bytes.windows(6).any(|w| w == b"hidden"));
        assert_eq!(Picture::read(File::open(&made).unwrap()).unwrap().pixels, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn what_is_no_picture_or_too_large_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.png");
        std::fs::write(&file, "<html>").unwrap();
        assert!(matches!(Picture::read(File::open(&file).unwrap()), Err(PictureError::Decode(_))));
        let mut encoder = png::Encoder::new(File::create(&file).unwrap(), 100_000, 1_000);
        encoder.set_color(png::ColorType::Grayscale);
        drop(encoder.write_header().unwrap());
        assert!(matches!(Picture::read(File::open(&file).unwrap()), Err(PictureError::TooLarge(100_000, 1_000))));
    }
}
