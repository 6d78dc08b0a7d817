//! `cargo xtask dist`: the tool as it is packaged, with its manual pages and completions.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Outcome;

/// Shells, and the names of their completions of zc.
const COMPLETIONS: [(&str, &str); 3] = [("bash", "zc"), ("zsh", "_zc"), ("fish", "zc.fish")];

/// Other files in the package.
const DOCUMENTS: [&str; 3] = ["crates/zc-cli/README.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// Builds `target/dist/zc` and `target/dist/zc.tar.gz`.
pub(crate) fn run() -> Outcome {
    let root = crate::root();
    let dist = root.join("target/dist");
    let package = dist.join("zc");
    if package.exists() {
        fs::remove_dir_all(&package)?;
    }
    for dir in ["bin", "share/man/man1", "share/completions"] {
        fs::create_dir_all(package.join(dir))?;
    }
    let mut build = Command::new("cargo");
    build.current_dir(root).args(["build", "--release", "-p", "zc-cli", "--target-dir", "target"]);
    done(&mut build)?;
    let zc = package.join("bin/zc");
    fs::copy(root.join("target/release/zc"), &zc)?;
    done(Command::new(&zc).arg("man-pages").arg(package.join("share/man/man1")))?;
    for (shell, name) in COMPLETIONS {
        let file = fs::File::create(package.join("share/completions").join(name))?;
        done(Command::new(&zc).args(["completions", shell]).stdout(file))?;
    }
    for document in DOCUMENTS {
        let name = Path::new(document).file_name().expect("a file");
        fs::copy(root.join(document), package.join(name))?;
    }
    done(Command::new("tar").current_dir(&dist).args(["-czf", "zc.tar.gz", "zc"]))?;
    println!("{}", dist.join("zc.tar.gz").display());
    Ok(())
}

fn done(command: &mut Command) -> Outcome {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}
