//! Hashes the files of a directory over four worker processes, of which one is killed on the way, and compares the result with a
//! single process's. Without an argument it makes a directory of its own.
//!
//! Two queues: jobs go to the workers and are acknowledged, so that what the killed one had goes to another; results come back.
//! A worker acknowledges a job once the owner has its result, so that a result can come twice and none is missing.

use std::{
    collections::BTreeMap,
    error::Error,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use strait::{
    frame::{Postcard, checksum},
    queue::{
        Settings,
        blocking::{Owner, Producer, Worker},
    },
};

/// A path, and where it is done with its CRC32.
type Job = String;
type Done = (String, u32);

const WORKERS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1) {
        Some(role) if role == "--worker" => work(),
        Some(dir) => hash(&PathBuf::from(dir)),
        None => {
            let dir = std::env::temp_dir().join(format!("strait-hash-files-{}", std::process::id()));
            make_files(&dir)?;
            let outcome = hash(&dir);
            std::fs::remove_dir_all(&dir)?;
            outcome
        }
    }
}

/// Pops jobs until the owner ends.
fn work() -> Result<(), Box<dyn Error>> {
    let mut jobs = Worker::<Job, Postcard>::connect("hash-jobs", 8)?;
    let mut results = Producer::<Done, Postcard>::connect("hash-results")?;
    while let Ok(job) = jobs.pop(PATIENCE) {
        let Some(job) = job else { continue };
        let sum = checksum(&std::fs::read(&*job)?);
        results.push(&(job.clone(), sum), PATIENCE)?;
        results.flush(PATIENCE)?;
        jobs.ack(job)?;
    }
    Ok(())
}

fn hash(dir: &Path) -> Result<(), Box<dyn Error>> {
    let files = files_of(dir)?;
    let jobs = Owner::<Job, Postcard>::bind("hash-jobs", Settings { acknowledged: true, ..Settings::default() })?;
    let results = Owner::<Done, Postcard>::bind("hash-results", Settings::default())?;
    let (jobs_handle, results_handle) = (jobs.handle(), results.handle());
    let owners = [std::thread::spawn(move || jobs.serve()), std::thread::spawn(move || results.serve())];

    let start_worker = |_| Command::new(std::env::current_exe()?).arg("--worker").spawn();
    let mut workers: Vec<Child> = (0..WORKERS).map(start_worker).collect::<Result<_, _>>()?;
    let mut producer = Producer::<Job, Postcard>::connect("hash-jobs")?;
    let mut collector = Worker::<Done, Postcard>::connect("hash-results", 64)?;

    let mut sums = BTreeMap::new();
    let mut pushed = files.iter();
    let mut next = pushed.next();
    while sums.len() < files.len() {
        // As many as there is room for, and then what has come back.
        while let Some(file) = next
            && producer.try_push(file).is_ok()
        {
            next = pushed.next();
        }
        if let Some(done) = collector.pop(Duration::from_millis(if next.is_some() { 1 } else { 1_000 }))? {
            sums.insert(done.0.clone(), done.1);
        }
        if workers.len() == WORKERS && sums.len() >= files.len() / 3 {
            let mut victim = workers.swap_remove(0);
            let (killed, waited) = (victim.kill(), victim.wait());
            killed.and(waited)?;
            println!("killed worker {} after {} files", victim.id(), sums.len());
        }
    }
    producer.drain(PATIENCE)?;
    let stats = jobs_handle.stats();
    jobs_handle.shutdown();
    results_handle.shutdown();
    for owner in owners {
        owner.join().expect("an owner does not panic")?;
    }
    for mut worker in workers {
        worker.wait()?;
    }
    println!("{} files, {} of them given to a second worker", sums.len(), stats.redelivered);

    let mut alone = BTreeMap::new();
    for file in &files {
        alone.insert(file.clone(), checksum(&std::fs::read(file)?));
    }
    if sums != alone {
        return Err("the sums of the workers differ from those of a single process".into());
    }
    println!("the sums are equal to those of a single process");
    Ok(())
}

/// All regular files below `dir`.
fn files_of(dir: &Path) -> Result<Vec<Job>, Box<dyn Error>> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir)? {
            let (kind, path) = entry.map(|entry| (entry.file_type(), entry.path()))?;
            if kind.as_ref().is_ok_and(std::fs::FileType::is_dir) {
                dirs.push(path);
            } else if kind?.is_file() {
                files.push(path.into_os_string().into_string().map_err(|_| "a path that is no UTF-8")?);
            }
        }
    }
    Ok(files)
}

/// 600 files of up to 200 KiB.
fn make_files(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for number in 0..600usize {
        let bytes: Vec<u8> = (0..number * 350).map(|at| (at * 31 + number) as u8).collect();
        std::fs::write(dir.join(format!("file-{number:03}")), bytes)?;
    }
    Ok(())
}
