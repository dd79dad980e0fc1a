//! Lists of packages that are out of date, as a machine has them that was installed a while ago: each names files
//! that the mirror no longer has.

use std::{
    fs::{self, File},
    io::{BufReader, BufWriter},
    path::Path,
};

use anyhow::{Context as _, Result, bail};

/// Makes the lists in this folder old.
pub(super) fn make_old(folder: &Path) -> Result<()> {
    let mut lists = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with("_Packages") {
            let new = path.with_extension("new");
            let read = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let write = File::create(&new).with_context(|| format!("cannot write {}", new.display()))?;
            age(BufReader::new(read), BufWriter::new(write))
                .with_context(|| format!("cannot make {} old", path.display()))?;
            fs::rename(&new, &path).with_context(|| format!("cannot rename {}", new.display()))?;
            lists += 1;
        } else if name.contains("Release") {
            // By the present one apt would take the list for the present one too, and never get it anew.
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    if lists == 0 {
        bail!("no list of packages in {}", folder.display());
    }
    Ok(())
}

fn age(read: impl std::io::BufRead, mut write: impl std::io::Write) -> std::io::Result<()> {
    for line in read.split(b'\n') {
        let line = line?;
        match line.strip_prefix(b"Filename: ") {
            Some(file) => {
                write.write_all(b"Filename: ")?;
                write.write_all(file.strip_suffix(b".deb").unwrap_or(file))?;
                write.write_all(b"+old.deb")?;
            }
            None => write.write_all(&line)?,
        }
        write.write_all(b"\n")?;
    }
    write.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_list_names_files_that_are_gone() {
        let mut old = Vec::new();
        let list = "Package: curl\nVersion: 7.88.1\nFilename: pool/main/c/curl/curl_7.88.1_amd64.deb\n\nPackage: x\n";
        age(list.as_bytes(), &mut old).unwrap();
        assert_eq!(
            String::from_utf8(old).unwrap(),
            "Package: curl\nVersion: 7.88.1\nFilename: pool/main/c/curl/curl_7.88.1_amd64+old.deb\n\nPackage: x\n"
        );
    }

    #[test]
    fn a_folder_without_a_list_is_an_error() {
        let folder = std::env::temp_dir().join(format!("xtask-lists-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("x_InRelease"), "new").unwrap();
        assert!(make_old(&folder).is_err());
        fs::write(folder.join("x_main_Packages"), "Filename: x.deb\n").unwrap();
        fs::write(folder.join("x_InRelease"), "new").unwrap();
        make_old(&folder).unwrap();
        let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["x_main_Packages"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
