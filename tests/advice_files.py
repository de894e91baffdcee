"""Advice about certificates and the command line."""

import numpy as np
from advice_cases import (
    CERTIFICATE,
    CONTRASTIVE,
    COUNTS,
    DECAYS,
    GOOD,
    LONG_TABLE,
    PROBLEM,
    ROUNDED,
    SMALL,
    TABLED,
    TOML,
    Case,
    Derived,
    H,
    OwnLoss,
    W,
    call,
    certified,
    command,
    judged,
    npz_of,
    reported,
    toml,
    written,
    y,
)

import ufm_convex as ufm
from ufm_convex import certificate
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem.constraints import HardMargin

CASES: list[Case] = [
    Case("_files:read_bytes", call(ufm.Problem.load, "no/such.toml"), "check the path", toml(TOML)),
    Case("_files:read_text", toml(""), "check how", toml("\ufeff" + TOML)),
    Case(
        "_files:read_text",
        lambda folder: ufm.Problem.load(written(folder, "p.toml", TOML.encode("utf-16"))),
        "as UTF-8",
        toml(TOML),
    ),
    Case(
        "_files:parse_toml",
        toml("class_counts = "),
        "Problem.save",
        lambda folder: (PROBLEM.save(folder / "p.toml"), ufm.Problem.load(folder / "p.toml")),
    ),
    Case(
        "_files:_unwritable",
        lambda folder: PROBLEM.save(folder / "no" / "p.toml"),
        "check the path",
        lambda folder: PROBLEM.save(folder / "p.toml"),
    ),
    Case(
        "cli.options:ProblemOptions._check_num_classes",
        command("solve", "--class-counts", "5,0", "--num-classes", "2", *DECAYS),
        "leave it out",
        command("solve", "--class-counts", "5,0", *DECAYS),
    ),
    Case(
        "certificate.certifying:_check_settings",
        call(ufm.certify, PROBLEM, digits=20, time_limit=60.0),
        "leave out one",
        call(ufm.certify, PROBLEM, digits=20),
    ),
    Case(
        "certificate.arguments:solved",
        call(ufm.certify, PROBLEM, solution=ufm.solve(PROBLEM), time_limit=60.0),
        "leave out one",
        call(ufm.certify, PROBLEM, time_limit=60.0),
    ),
    Case(
        "certificate.certifying:_refuse_proof",
        call(ufm.certify, PROBLEM, digits=20, proof="dense"),
        "leave out one",
        call(ufm.certify, PROBLEM, digits=20),
    ),
    Case(
        "certificate.encoding:require_exactly",
        call(ufm.certify, ufm.Problem(COUNTS, 5e-3, 5e-3, loss=Derived())),
        "the class itself",
        call(ufm.certify, ufm.Problem(COUNTS, 5e-3, 5e-3, loss=CrossEntropy())),
    ),
    Case(
        "cli.command:_refuse_repeated",
        command("solve", "--class-counts", "5,3", *DECAYS, "--level", "class", "--level", "class"),
        "keep one",
        command("solve", "--class-counts", "5,3", *DECAYS, "--level", "class"),
    ),
    Case(
        "cli.options:ProblemOptions._loss_parameters",
        command("solve", "--class-counts", "5,3", *DECAYS, "--smoothing", "0.1", "--loss-parameter", "smoothing=0.1"),
        "keep one",
        command("solve", "--class-counts", "5,3", *DECAYS, "--smoothing", "0.1"),
    ),
    Case(
        "verifying:_arrays",
        lambda folder: ufm.verify(
            ufm.certify(SMALL, ufm.Candidate(weights=W, features=H, labels=y)).text().encode(), 5
        ),
        "Candidate(weights=W, features=F, labels=y)",
        lambda folder: ufm.verify(
            ufm.certify(SMALL, c := ufm.Candidate(weights=W, features=H, labels=y)).text().encode(), c
        ),
    ),
    Case(
        "verifying:verify",
        lambda folder: ufm.verify(
            ufm.certify(SMALL, ufm.Candidate(weights=W, features=H, labels=y)).text().encode(), {"weights": W}
        ),
        "an ufm_convex.Candidate",
        lambda folder: ufm.verify(
            ufm.certify(SMALL, c := ufm.Candidate(weights=W, features=H, labels=y)).text().encode(), c
        ),
    ),
    Case(
        "certificate.certifying:_check_recheck",
        call(ufm.certify, PROBLEM, recheck=True),
        "leave recheck out",
        call(ufm.certify, PROBLEM),
    ),
    Case(
        "certificate.arguments:chosen",
        call(ufm.certify, SMALL, 5),
        "Candidate(weights=W",
        call(ufm.certify, SMALL, ufm.Candidate(weights=W, features=H, labels=y)),
    ),
    Case(
        "certificate.certifying:_check_settings",
        call(ufm.certify, PROBLEM, digits=2.5),
        "use 50",
        call(ufm.certify, PROBLEM, digits=50),
    ),
    Case(
        "certificate.certifying:_check_settings",
        call(ufm.certify, PROBLEM, proof="best"),
        "leave it out",
        call(ufm.certify, PROBLEM),
    ),
    Case(
        "certificate.arguments:solved",
        call(ufm.certify, PROBLEM, solution=5),
        "pass solve(problem)",
        call(ufm.certify, PROBLEM, solution=ufm.solve(PROBLEM)),
    ),
    Case(
        "certificate.certifying:_refuse_solution",
        call(ufm.certify, PROBLEM, digits=20, solution=5),
        "leave out one",
        call(ufm.certify, PROBLEM, digits=20),
    ),
    Case(
        "certificate.file:CertificateFile.decimals",
        lambda _: ufm.certify(PROBLEM).decimals(0),
        "use 50",
        lambda _: ufm.certify(PROBLEM).decimals(50),
    ),
    Case(
        "cli.options:ProblemOptions._check_sources",
        command("solve", *DECAYS),
        "--class-counts 500,100,20 --lambda-w 5e-3 --lambda-h 5e-3",
        command("solve", "--class-counts", "500,100,20", *DECAYS),
    ),
    Case(
        "cli.options:ProblemOptions._check_decays",
        command("solve", "--class-counts", "5,3"),
        "add --lambda-w 5e-3 --lambda-h 5e-3",
        command("solve", "--class-counts", "5,3", *DECAYS),
    ),
    Case(
        "cli.values:integers",
        command("solve", "--class-counts", "5;3", *DECAYS),
        "whole numbers of samples",
        command("solve", "--class-counts", "5,3", *DECAYS),
    ),
    Case(
        "cli.values:number",
        command("solve", "--class-counts", "5,3", "--lambda-w", "x", "--lambda-h", "1"),
        "5e-3",
        command("solve", "--class-counts", "5,3", *DECAYS),
    ),
    Case(
        "cli.values:bias",
        command("solve", "--class-counts", "5,3", *DECAYS, "--bias", "x"),
        "--bias free",
        command("solve", "--class-counts", "5,3", *DECAYS, "--bias", "free"),
    ),
    Case(
        "cli.values:whole_number",
        command("solve", "--class-counts", "5,3", *DECAYS, "--feature-dim", "2.0"),
        "without a decimal point",
        command("solve", "--class-counts", "5,3", *DECAYS, "--feature-dim", "2"),
    ),
    Case(
        "cli.certify:_check_decays",
        command("certify", "FOLDER/a.npz", "--decays", "effective", "--lambda-h", "0.1"),
        "leave out --decays effective or --lambda-h",
        command("certify", "--class-counts", "5,3", *DECAYS),
    ),
    Case(
        "cli.certify:_check_decays",
        command("certify", "--class-counts", "5,3", "--decays", "effective"),
        "add the candidate's file",
        judged("--decays", "effective"),
    ),
    Case(
        "cli.certify:_check_decays",
        command("certify", "FOLDER/a.npz", "--decays", "good"),
        "use --decays effective",
        judged("--decays", "effective"),
    ),
    Case(
        "cli.options:ProblemOptions._check_decays",
        judged("--lambda-w", "0.1"),
        "or --decays effective",
        judged("--lambda-w", "0.1", "--decays", "effective"),
    ),
    Case(
        "cli.judged:sort_out",
        command("certify", "FOLDER/a.npz", "FOLDER/b.npz", *DECAYS),
        "leave one out",
        command("certify", "--class-counts", "5,3", *DECAYS),
    ),
    Case(
        "cli.plot:_target",
        command("plot", "--class-counts", "5,3", *DECAYS),
        "add -o figure.png",
        command("plot", "--class-counts", "5,3", *DECAYS, "-o", "FOLDER/figure.png"),
    ),
    Case(
        "cli.options:CandidateOptions.load",
        command("certify", "--class-counts", "5,3", *DECAYS, "--array", "weights=W"),
        "after the candidate's file",
        command("certify", "--class-counts", "5,3", *DECAYS),
    ),
    Case(
        "cli.report:_nothing",
        command("report"),
        "report trained.npz",
        lambda folder: (npz_of(weights=W, features=H, labels=y)(folder), reported(folder, "c.npz")),
    ),
    Case(
        "certificate.certifying:require_judgeable",
        call(ufm.certify, ufm.Problem(COUNTS, 1, 1, constraint=HardMargin(1)), GOOD),
        "certify(problem)",
        call(ufm.certify, ufm.Problem(COUNTS, 1, 1, constraint=HardMargin(1))),
    ),
    Case(
        "certificate.encoding:require_encodable",
        call(ufm.certify, ufm.Problem(COUNTS, 5e-3, 5e-3, loss=OwnLoss())),
        "ufm_convex.solve(problem)",
        call(ufm.solve, ufm.Problem(COUNTS, 5e-3, 5e-3, loss=OwnLoss())),
    ),
    Case(
        "certificate.file:CertificateFile.load",
        lambda folder: ufm.Certificate.load(certified(folder, CONTRASTIVE)),
        "the class that",
        lambda folder: type(ufm.certify(CONTRASTIVE)).load(certified(folder, CONTRASTIVE)),
    ),
    Case(
        "certificate.file:_not_a_certificate",
        lambda folder: ufm.Certificate.load(written(folder, "c.json", "{}")),
        "",
        lambda folder: ufm.Certificate.load(certified(folder, SMALL)),
    ),
    Case(
        "certificate.arguments:chosen",
        call(ufm.certify, CONTRASTIVE, 5),
        "ContrastiveCandidate(features=F, labels=y)",
        call(ufm.certify, CONTRASTIVE, ufm.ContrastiveCandidate(features=H, labels=y)),
    ),
    Case(
        "certificate.arguments:solved",
        call(ufm.certify, CONTRASTIVE, solution=5),
        "pass solve(problem)",
        call(ufm.certify, CONTRASTIVE, solution=ufm.solve(CONTRASTIVE)),
    ),
    Case(
        "certificate.contrastive:ContrastiveCertificate.to_json",
        lambda _: ufm.certify(CONTRASTIVE, ufm.ContrastiveCandidate(features=H, labels=y)).to_json(),
        "ufm_convex.certify(problem)",
        lambda _: ufm.certify(CONTRASTIVE).to_json(),
    ),
    Case(
        "cli.judged:sort_out",
        command("certify", "FOLDER/a.npz", "FOLDER/b.npz", *DECAYS),
        "leave one out",
        command("certify", "--class-counts", "5,3", *DECAYS),
    ),
    Case(
        "cli.command:refuse",
        command(
            "solve",
            "FOLDER/c.toml",
            "--lambda-w",
            "1",
            c_toml='model = "contrastive"\nclass_counts = [2, 1]\nbound = 1.0',
        ),
        "leave out --lambda-w",
        command("solve", "FOLDER/c.toml", c_toml='model = "contrastive"\nclass_counts = [2, 1]\nbound = 1.0'),
    ),
    Case(
        "cli.crosscheck:_file",
        command("crosscheck", "--class-counts", "4,2,2", *DECAYS, "--solution", "no.json"),
        "check the path",
        command("solve", "--class-counts", "4,2,2", *DECAYS),
    ),
    Case(
        "cli.options:ProblemOptions._check_sources",
        command("solve", *DECAYS),
        "--class-counts 500,100,20 --lambda-w 5e-3 --lambda-h 5e-3",
        command("solve", "--class-counts", "500,100,20", "--lambda-w", "5e-3", "--lambda-h", "5e-3"),
    ),
    Case(
        "cli.values:assignment",
        command("solve", "--class-counts", "5,3", *DECAYS, "--loss", "multiclass-hinge", "--loss-parameter", "kind"),
        "one option for each",
        command(
            "solve",
            "--class-counts",
            "5,3",
            *DECAYS,
            "--loss",
            "multiclass-hinge",
            "--loss-parameter",
            "kind=weston-watkins",
        ),
    ),
    Case(
        "cli.values:constraint",
        command("solve", "--class-counts", "5,3", "--features", "free", "--constraint", "layer-peeled:1"),
        "commas between",
        command(
            "solve",
            "--class-counts",
            "5,3",
            "--features",
            "free",
            "--constraint",
            "layer-peeled:weight_radius=1,feature_radius=5",
        ),
    ),
    Case(
        "_files:_unwritable",
        command("solve", "--class-counts", "5,3", *DECAYS, "-o", "FOLDER/no/c.json"),
        "another path",
        command("solve", "--class-counts", "5,3", *DECAYS, "-o", "FOLDER/c.json"),
    ),
    Case(
        "cli.plot:_target",
        command("plot", "--class-counts", "5,3", *DECAYS),
        "add -o figure.png",
        command("plot", "--class-counts", "5,3", *DECAYS, "-o", "FOLDER/figure.png"),
    ),
    Case(
        "cli.sweep:_target",
        command("sweep", "--decays", "1e-2", "--classes", "2", "--imbalances", "1"),
        "add -o phase.parquet",
        command("sweep", "--decays", "1e-2", "--classes", "2", "--imbalances", "1", "-o", "FOLDER/phase.parquet"),
    ),
    Case(
        "cli.command:refuse",
        command("crosscheck", "--conformance", "--class-counts", "4,2,2"),
        "leave out --class-counts",
        command("crosscheck", "--class-counts", "4,2,2", *DECAYS, "--solvers", "scs", "--level", "class"),
    ),
    Case(
        "cli.plot:_sort_out",
        command("plot", "FOLDER/a.json", "FOLDER/b.json", "-o", "FOLDER/f.png"),
        "leave one out",
        command("plot", "--class-counts", "5,3", *DECAYS, "-o", "FOLDER/f.png"),
    ),
    Case(
        "cli.command:refuse",
        command("plot", "FOLDER/a.json", "--lambda-w", "1", "-o", "FOLDER/f.png", a_json=CERTIFICATE),
        "leave out --lambda-w",
        command("plot", "FOLDER/a.json", "-o", "FOLDER/f.png", a_json=CERTIFICATE),
    ),
    Case(
        "certificate.residuals:require_proof",
        call(ufm.certify, TABLED, proof="residuals"),
        "leave proof out",
        call(ufm.certify, TABLED),
    ),
    Case(
        "certificate.residuals:require_proof",
        call(ufm.certify, LONG_TABLE),
        "certify problem.merged[0]",
        call(ufm.certify, LONG_TABLE.merged[0]),
    ),
    Case(
        "certificate.tables:require_writable",
        call(ufm.certify, ufm.Problem([5], 5e-3, 5e-3, loss=ufm.SoftTargetCrossEntropy(ROUNDED).kept(np.array([1])))),
        "sum to 1 exactly",
        call(ufm.certify, ufm.Problem([5], 5e-3, 5e-3, loss=ufm.SoftTargetCrossEntropy([[0.125, 0.0, 0.875]]))),
    ),
    Case(
        "cli.options:ProblemOptions._check_num_classes",
        command("solve", "--class-counts", "5,3", "--context", "2", *DECAYS),
        "--tokens",
        lambda path: (
            np.save(path / "corpus.npy", [0, 1, 0, 0, 1]),
            command("solve", "--tokens", str(path / "corpus.npy"), "--context", "2", *DECAYS)(path),
        ),
    ),
    # tables of targets that no file carries
    Case(
        "certificate.unwritten:Judged._refuse",
        lambda folder: certificate.judged(SMALL, GOOD).save(folder / "c.json"),
        "ufm_convex.certify(problem, candidate)",
        lambda folder: ufm.certify(SMALL, GOOD).save(folder / "c.json"),
    ),
    Case(
        "certificate.unwritten:judged",
        lambda _: certificate.judged(TABLED, solution=ufm.solve(SMALL)),
        "pass solve(problem)",
        lambda _: certificate.judged(TABLED, solution=ufm.solve(TABLED)),
    ),
    Case(
        "certificate.unwritten:judged",
        lambda _: certificate.judged(TABLED, solution=5),
        "leave it out",
        lambda _: certificate.judged(TABLED),
    ),
]
