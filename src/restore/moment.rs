//! Which chain, and as of when.

use super::{Job, RestoreOptions};
use crate::catalog::{Chain, Cut, Manifest, Moment, RunId, RunPath, RunState, Vault, find_runs};
use crate::{Error, Kind, Result};

/// What has to be read for the moment that was asked for: of the run that was named, of the newest chain that can be restored to a time,
/// or of all of the newest chain.
///
/// # Errors
/// [`Kind::NotFound`] when no chain has that run or moment; the error names the times that there are.
pub(super) async fn pick(vault: &Vault, job: &Job, options: &RestoreOptions) -> Result<Cut> {
    let runs = find_runs(&**vault.store(), &job.table).await?;
    let bases: Vec<(RunPath, Manifest)> = runs
        .into_iter()
        .rev()
        .filter_map(|run| match run {
            RunState::Committed(path, manifest) => Some((path, *manifest)),
            RunState::Unfinished(..) => None,
        })
        .collect();
    let read = async |path: &RunPath| Chain::read(&**vault.store(), &job.table, path).await;
    let not_found = |what: String| {
        Error::new(Kind::NotFound, what)
            .on(format!("of table `{}` in {}", job.table.table, vault.url()))
            .hint("`otsvault list` shows what is there, unfinished runs included")
    };
    match (&options.run, &options.to) {
        (None, Moment::End) => match bases.first() {
            Some((path, _)) => read(path).await?.cut(&Moment::End),
            None => Err(not_found("find a committed backup".to_owned())),
        },
        (Some(base), Moment::Time(time)) => match bases.iter().find(|(path, _)| path.run == *base) {
            Some((path, _)) => read(path).await?.cut(&Moment::Time(*time)),
            None => Err(not_found(format!("find base {base}"))),
        },
        (None, Moment::Time(time)) => {
            let mut windows = Vec::new();
            for (path, _) in bases.iter().filter(|(_, manifest)| manifest.started_at <= *time) {
                let chain = read(path).await?;
                match chain.window() {
                    Some(window) if (window.from..=window.to).contains(time) => {
                        return chain.cut(&Moment::Time(*time));
                    }
                    Some(window) => {
                        windows.push(format!("{} to {} (chain {})", window.from, window.to, path.chain));
                    }
                    None => {}
                }
            }
            let reason = match windows.is_empty() {
                true => "no chain that began before can be restored to a time; fuzzy bases cannot".to_owned(),
                false => format!("what can be restored: {}", windows.join(", ")),
            };
            Err(not_found(format!("find a chain that can be restored to {time}")).because(reason))
        }
        (Some(run), _) | (None, Moment::Run(run)) => {
            if let Some((path, _)) = bases.iter().find(|(path, _)| path.run == *run) {
                return read(path).await?.cut(&Moment::Run(run.clone()));
            }
            for (path, _) in &bases {
                let chain = read(path).await?;
                if chain.deltas.iter().any(|link| link.path.run == *run) {
                    return chain.cut(&Moment::Run(run.clone()));
                }
            }
            Err(not_found(format!("find run {run}")))
        }
    }
}

/// Refuses options that name two moments.
///
/// # Errors
/// [`Kind::Usage`].
pub(super) fn check(run: Option<&RunId>, to: &Moment) -> Result<()> {
    match (run, to) {
        (Some(_), Moment::Run(_)) => Err(Error::new(Kind::Usage, "use `--to` with a run")
            .because("`--run` names another; with a time, `--run` says of which base")),
        _ => Ok(()),
    }
}
