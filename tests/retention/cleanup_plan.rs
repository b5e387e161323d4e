//! The plan of a cleanup against a second opinion, object by object, over random layouts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;
use otsvault::catalog::{FileId, FileListId, RunId, RunObject, RunPath, TablePath};
use otsvault::objectstore::OpenUpload;
use otsvault::retention::{Loose, RunStanding, Stored, SurveyedRun, TableSurvey, plan_cleanup};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::seeds;

const HOUR: i64 = 3600;

/// A random table, and what is true of each object.
struct Layout {
    now: Timestamp,
    survey: TableSurvey,
    named: BTreeSet<RunId>,
    /// Objects that must go, and objects that must stay.
    verdicts: BTreeMap<String, bool>,
    /// The same of uploads, by id.
    uploads: BTreeMap<String, bool>,
}

/// An age around the limits that matter: minutes, a day, a week.
fn age(random: &mut StdRng) -> SignedDuration {
    let seconds = match random.random_range(0..5) {
        0 => random.random_range(-HOUR..30 * 60),
        1 => random.random_range(0..2 * 24 * HOUR),
        2 => random.random_range(23 * HOUR..25 * HOUR),
        3 => random.random_range(6 * 24 * HOUR..8 * 24 * HOUR),
        _ => random.random_range(0..60 * 24 * HOUR),
    };
    SignedDuration::from_secs(seconds)
}

fn layout(seed: u64) -> Layout {
    let mut random = StdRng::seed_from_u64(seed);
    let now: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
    let table = TablePath::new(&Path::from("v"), "i", "t").unwrap();
    let day = SignedDuration::from_hours(24);
    let retention =
        random.random_bool(0.2).then(|| Duration::from_secs(random.random_range(1..40) * 24 * 3600));
    let locked = |modified: Timestamp| {
        retention.is_some_and(|retention| {
            now.duration_since(modified) < SignedDuration::try_from(retention).unwrap()
        })
    };
    let held = random.random_bool(0.1);
    let mut survey = TableSurvey {
        lease_held: held.then(|| "somebody works on it".to_owned()),
        retention,
        foreign_objects: random.random_range(0..3),
        ..TableSurvey::default()
    };
    let (mut named, mut verdicts, mut upload_verdicts) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
    for number in 0..random.random_range(0..6) {
        let started_at = now - age(&mut random);
        let run: RunId = RunId::new(started_at);
        let path: RunPath = table.base(&run);
        let is_named = random.random_bool(0.2);
        if is_named {
            named.insert(run);
        }
        let hidden = random.random_bool(0.15);
        let list: [u8; 32] = random.random();
        let listed: BTreeSet<FileId> = (0..random.random_range(0..4)).map(|_| FileId::random()).collect();
        // Per object: what it is, and whether a committed run needs it.
        let mut contents = vec![];
        for file in &listed {
            contents.push((RunObject::Data(*file), true));
            contents.push((RunObject::Journal(*file), true));
        }
        for _ in 0..random.random_range(0..3) {
            contents.push((RunObject::Data(FileId::random()), false));
            contents.push((RunObject::FileList(FileListId::of(&random.random())), false));
        }
        contents.push((RunObject::FileList(FileListId::of(&list)), true));
        contents.push((RunObject::Started, true));
        let kind = random.random_range(0..3);
        let standing = match kind {
            0 => {
                contents.push((RunObject::Manifest, true));
                let strays =
                    contents.iter().any(|(object, needed)| matches!(object, RunObject::Data(_)) && !needed);
                RunStanding::Committed {
                    file_lists: vec![FileListId::of(&list)],
                    files: (strays || random.random_bool(0.5)).then(|| listed.clone()),
                }
            }
            1 => RunStanding::Unfinished { started_at },
            _ => RunStanding::Bare,
        };
        if kind != 0 || hidden {
            // What a removal or a short life left over; it may be nothing.
            contents.retain(|_| random.random_bool(0.7));
        }
        let base_age = age(&mut random);
        let objects: Vec<Stored> = contents
            .iter()
            .enumerate()
            .map(|(index, (object, _))| Stored {
                path: path.prefix().clone().join(format!("object-{number}-{index}")),
                object: *object,
                bytes: random.random_range(0..1000),
                modified: now - if random.random_bool(0.7) { base_age } else { age(&mut random) },
            })
            .collect();
        let uploads: Vec<OpenUpload> = (0..random.random_range(0..3))
            .map(|index| OpenUpload {
                path: path.data_file(FileId::random()),
                upload_id: format!("{number}-{index}"),
                initiated: now - age(&mut random),
            })
            .collect();

        // The second opinion. First the run as a whole.
        let touched = |within: SignedDuration| {
            objects.iter().any(|stored| now.duration_since(stored.modified) < within)
                || uploads.iter().any(|upload| now.duration_since(upload.initiated) < within)
        };
        let uncommitted_is_dead = match standing {
            RunStanding::Committed { .. } => false,
            _ if is_named => !touched(SignedDuration::from_mins(15)),
            RunStanding::Unfinished { started_at } => {
                now.duration_since(started_at) >= day * 7 && !touched(day)
            }
            RunStanding::Bare => !touched(day),
        };
        let any_locked = objects.iter().any(|stored| locked(stored.modified));
        let run_goes = !held && (hidden || uncommitted_is_dead) && !any_locked;
        for (stored, (_, needed)) in objects.iter().zip(&contents) {
            let is_committed = kind == 0 && !hidden;
            let old = now.duration_since(stored.modified) >= day && !locked(stored.modified);
            let goes = run_goes || (is_committed && !needed && old && !held);
            verdicts.insert(stored.path.to_string(), goes);
        }
        for upload in &uploads {
            let goes = run_goes || (!held && now.duration_since(upload.initiated) >= day);
            upload_verdicts.insert(upload.upload_id.clone(), goes);
        }
        survey.runs.push(SurveyedRun { path, standing, hidden, objects, uploads });
    }
    let leases = random.random_range(0..5);
    for number in 1..=leases {
        let lease =
            Loose { path: Path::from(format!("lease/{number}")), bytes: 9, modified: now - age(&mut random) };
        let old = now.duration_since(lease.modified) >= day && !locked(lease.modified);
        verdicts.insert(lease.path.to_string(), !held && old && number != leases);
        survey.leases.push((number, lease));
    }
    if random.random_bool(0.3) {
        let tombstone = Loose { path: Path::from("tombstone/x"), bytes: 9, modified: now - age(&mut random) };
        verdicts.insert(tombstone.path.to_string(), !held && !locked(tombstone.modified));
        survey.lone_tombstones.push(tombstone);
    }
    Layout { now, survey, named, verdicts, uploads: upload_verdicts }
}

#[test]
fn of_ten_thousand_random_layouts_exactly_what_nobody_needs_is_planned() {
    let (mut going, mut staying) = (0, 0);
    for seed in seeds(12_000) {
        let Layout { now, survey, named, verdicts, uploads } = layout(seed);
        let plan = plan_cleanup(&survey, &named, now);
        let of_runs = plan.runs.iter().flat_map(|dead| dead.objects.iter().cloned());
        let planned: BTreeSet<String> =
            of_runs.chain(plan.objects.iter().map(|orphan| orphan.object.clone())).collect();
        for (object, goes) in &verdicts {
            assert_eq!(planned.contains(object), *goes, "`{object}`, RETENTION_SEED={seed}: {survey:#?}");
            if *goes { going += 1 } else { staying += 1 }
        }
        assert!(planned.iter().all(|object| verdicts.contains_key(object)), "RETENTION_SEED={seed}");
        assert_eq!(plan.object_count(), planned.len() as u64, "nothing twice, RETENTION_SEED={seed}");
        let of_runs = plan.runs.iter().map(|dead| &dead.path).collect::<Vec<_>>();
        let with_run = survey.runs.iter().filter(|run| of_runs.contains(&&run.path));
        let mut aborted: BTreeSet<String> =
            with_run.flat_map(|run| run.uploads.iter().map(|upload| upload.upload_id.clone())).collect();
        aborted.extend(plan.uploads.iter().map(|stale| stale.upload_id.clone()));
        for (upload, goes) in &uploads {
            assert_eq!(
                aborted.contains(upload),
                *goes,
                "upload {upload}, RETENTION_SEED={seed}: {survey:#?}"
            );
        }
    }
    println!("{going} objects go, {staying} stay");
    if std::env::var("RETENTION_SEED").is_err() {
        assert!(going > 10_000 && staying > 10_000, "the layouts are all of one kind");
    }
}
