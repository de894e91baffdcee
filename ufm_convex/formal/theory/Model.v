(* The statement: the objective of the unconstrained feature model, sample by sample, in plain definitions. *)
From Coq Require Import Reals List ZArith Bool.
Import ListNotations.
Open Scope R_scope.

Definition dyadic : Type := Z * Z.                                          (* (m, e) is m 2^e *)
Definition real (x : dyadic) : R := IZR (fst x) * powerRZ 2 (snd x).
Fixpoint sum (n : nat) (f : nat -> R) : R := match n with O => 0 | S m => sum m f + f m end.

(* Classes are 0, 1, ...; alike neighbours are a run, and run_of says to which run a class belongs. *)
Fixpoint run_of (multiplicities : list Z) (k : nat) : nat :=
  match multiplicities with
  | [] => 0 | m :: rest => if (k <? Z.to_nat m)%nat then 0 else S (run_of rest (k - Z.to_nat m)) end.

Inductive regulariser := Decays (lambda_w lambda_h : dyadic) | Radii (weight_radius feature_radius : dyadic).
Inductive bias := NoBias | FreeBias | PenalisedBias (lambda_b : dyadic).
Record problem := Problem {
  multiplicities : list Z; counts : list Z; weights : list dyadic;          (* one entry a run *)
  sizes_of : regulariser; bias_of : bias; nonnegative : bool; feature_dim : option Z;
  loss_of : nat -> nat -> (nat -> R) -> R }.       (* of K classes, for a sample of class k, from its K logits *)

Definition classes (P : problem) : nat := Z.to_nat (fold_right Z.add 0%Z (multiplicities P)).
Definition samples (P : problem) (k : nat) : nat := Z.to_nat (nth (run_of (multiplicities P) k) (counts P) 0%Z).
Definition weight (P : problem) (k : nat) : R := real (nth (run_of (multiplicities P) k) (weights P) (1, 0)%Z).
Definition all_samples (P : problem) : R := sum (classes P) (fun k => INR (samples P k)).

(* W j a: row of class j, coordinate a < d.  H k i a: feature of sample i of class k.  b j: bias of class j. *)
Definition logits (d : nat) (W : nat -> nat -> R) (h b : nat -> R) (j : nat) : R := sum d (fun a => W j a * h a) + b j.
Definition square (d : nat) (x : nat -> R) : R := sum d (fun a => x a ^ 2).
Definition W_square P d W : R := sum (classes P) (fun j => square d (W j)).
Definition H_squares P d H k : R := sum (samples P k) (fun i => square d (H k i)).
Definition objective (P : problem) (d : nat) (W : nat -> nat -> R) (H : nat -> nat -> nat -> R) (b : nat -> R) : R :=
  let K := classes P in
  sum K (fun k => weight P k * sum (samples P k) (fun i => loss_of P K k (logits d W (H k i) b))) / all_samples P
  + match sizes_of P with Decays lw lh => real lw / 2 * W_square P d W + real lh / 2 * sum K (H_squares P d H) | _ => 0 end
  + match bias_of P with PenalisedBias lb => real lb / 2 * square K b | _ => 0 end.
Definition admissible (P : problem) (d : nat) (W : nat -> nat -> R) (H : nat -> nat -> nat -> R) (b : nat -> R) : Prop :=
  (nonnegative P = true -> forall k i a, 0 <= H k i a)
  /\ match feature_dim P with None => True | Some n => (Z.of_nat d <= n)%Z end
  /\ match sizes_of P with Decays _ _ => True | Radii ew eh => W_square P d W <= INR (classes P) * real ew
     /\ sum (classes P) (fun k => H_squares P d H k / INR (samples P k)) <= INR (classes P) * real eh end
  /\ match bias_of P with NoBias => forall j, b j = 0 | _ => True end.

(* Of a claim about given W, H and b: a row of integers times 2^exponent. *)
Definition vector (exponent : Z) (row : list Z) (a : nat) : R := real (nth a row 0%Z, exponent).

(* The losses: of a certificate only its own is to be read, and what that names. *)
Definition one_hot (k j : nat) : R := if (j =? k)%nat then 1 else 0.
Definition softmax_loss (K : nat) (y z : nat -> R) : R := ln (sum K (fun j => exp (z j))) - sum K (fun j => y j * z j).
Definition cross_entropy (smoothing : dyadic) (K k : nat) : (nat -> R) -> R :=
  softmax_loss K (fun j => (1 - real smoothing) * one_hot k j + real smoothing / INR K).
Definition soft_targets (exponent : Z) (rows : list (list Z)) (K k : nat) : (nat -> R) -> R :=
  softmax_loss K (fun j => real (nth j (nth k rows []) 0%Z, exponent)).
Definition logit_adjusted (scale shift : list dyadic) (K k : nat) (z : nat -> R) : R :=
  softmax_loss K (one_hot k) (fun j => real (nth j scale (1, 0)%Z) * z j + real (nth j shift (0, 0)%Z)).
Definition label_margins (margins : list dyadic) (K k : nat) (z : nat -> R) : R :=
  softmax_loss K (one_hot k) (fun j => z j - real (nth k margins (0, 0)%Z) * one_hot k j).
Definition squared_error (K k : nat) (z : nat -> R) : R := sum K (fun j => (z j - one_hot k j) ^ 2) / 2.
Definition binary_cross_entropy (K k : nat) (z : nat -> R) : R :=
  sum K (fun j => ln (1 + exp (if (j =? k)%nat then - z j else z j))).
Definition hinge (k : nat) (z : nat -> R) (j : nat) : R := if (j =? k)%nat then 0 else Rmax 0 (1 + z j - z k).
Fixpoint largest (n : nat) (f : nat -> R) : R := match n with O => 0 | S m => Rmax (largest m f) (f m) end.
Definition crammer_singer (K k : nat) (z : nat -> R) : R := largest K (hinge k z).
Definition weston_watkins (K k : nat) (z : nat -> R) : R := sum K (hinge k z).
Definition squared_hinge (K k : nat) (z : nat -> R) : R := sum K (fun j => hinge k z j ^ 2) / 2.
