//! Video files through ffmpeg.
