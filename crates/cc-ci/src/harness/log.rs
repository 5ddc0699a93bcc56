//! A log file of the run's folder: timed lines, masked while they are written, bounded in size.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::clock;
use crate::redact::{MaskingWriter, Redactor};

/// Above this size a log says that it was cut and takes no more.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// An open log. Trouble with writing it never stops a run: the lines are evidence, not the verdict.
pub struct LogFile {
    /// Masks as text streams by, so that a secret over the border of two writes is seen too.
    file: Option<MaskingWriter<File>>,
    written: u64,
}

impl LogFile {
    /// Opens the file for more, with its folder.
    #[must_use]
    pub fn open(path: &Path, redactor: &Redactor) -> Self {
        let open = || -> std::io::Result<File> {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            File::options().create(true).append(true).open(path)
        };
        let file = open().inspect_err(|error| tracing::warn!("cannot write {}: {error}", path.display())).ok();
        Self { file: file.map(|file| redactor.writer(file)), written: 0 }
    }

    /// Adds a line with its time. A text of several lines is indented under the first.
    pub fn line(&mut self, text: &str) {
        let time = clock::now().strftime("%H:%M:%S%.3f");
        let text = text.trim_end().replace('\n', "\n              ");
        self.raw(&format!("{time}  {text}\n"));
    }

    /// Adds text as it is.
    pub fn raw(&mut self, text: &str) {
        let Some(file) = &mut self.file else { return };
        if self.written > MAX_BYTES {
            return;
        }
        self.written += text.len() as u64;
        let cut = self.written > MAX_BYTES;
        let result = file
            .write_all(text.as_bytes())
            .and_then(|()| if cut { file.write_all(b"[cut: the log has reached 16 MiB]\n") } else { Ok(()) });
        if let Err(error) = result {
            tracing::warn!("log: {error}");
            self.file = None;
        }
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.file.take().map(MaskingWriter::finish) {
            tracing::warn!("log: {error}");
        }
    }
}
