(* Weak duality, sample by sample: no convexity is needed, only the inequality of Fenchel and Young at the points used. *)
From Coq Require Import Reals List ZArith Lia Lra.
From UFM Require Import Model Sums.
Open Scope R_scope.

Section Weak.
Variables (K d : nat) (n : nat -> nat) (om : nat -> R) (N lw lh : R) (nonneg : bool).
Variables (l : nat -> (nat -> R) -> R) (v : nat -> nat -> R) (c : nat -> R).
Hypotheses (N0 : 0 < N) (lw0 : 0 < lw) (lh0 : 0 < lh) (om0 : forall k, (k < K)%nat -> 0 <= om k).

Definition pt k := om k * INR (n k) / N.
Definition slack := forall x : nat -> R, (nonneg = true -> forall k, 0 <= x k) ->
  sum K (fun j => sum K (fun k => pt k * v k j * x k) ^ 2) <= lw * lh * sum K (fun k => INR (n k) * x k ^ 2).
Hypothesis FY : forall k z, (k < K)%nat -> (0 < n k)%nat -> sum K (fun j => v k j * z j) - c k <= l k z.
Hypothesis S : slack.

(* one coordinate *)
Lemma coordinate (w x : nat -> R) : (nonneg = true -> forall k, 0 <= x k) ->
  0 <= sum K (fun k => pt k * x k * sum K (fun j => v k j * w j)) + lw / 2 * sum K (fun j => w j ^ 2)
       + lh / 2 * sum K (fun k => INR (n k) * x k ^ 2).
Proof.
intros P. specialize (S x P). set (q := sum K (fun k => INR (n k) * x k ^ 2)) in *.
set (g := fun j => sum K (fun k => pt k * v k j * x k)). change (sum K (fun j => g j ^ 2) <= lw * lh * q) in S.
assert (E : sum K (fun k => pt k * x k * sum K (fun j => v k j * w j)) = sum K (fun j => g j * w j)).
{ transitivity (sum K (fun k => sum K (fun j => pt k * v k j * x k * w j))).
  - apply sum_ext; intros k _. rewrite <- sum_scal. apply sum_ext; intros; ring.
  - rewrite sum_swap. apply sum_ext; intros j _. unfold g. rewrite sum_scal_r. reflexivity. }
rewrite E.
assert (Q : 0 <= sum K (fun j => (lw * w j + g j) ^ 2)) by (apply sum_ge0; intros; apply pow2_ge_0).
assert (X : sum K (fun j => (lw * w j + g j) ^ 2)
  = lw ^ 2 * sum K (fun j => w j ^ 2) + 2 * lw * sum K (fun j => g j * w j) + sum K (fun j => g j ^ 2)).
{ rewrite <- !sum_scal, <- !sum_plus. apply sum_ext; intros; ring. }
rewrite X in Q. set (a := sum K (fun j => w j ^ 2)) in *. set (b := sum K (fun j => g j * w j)) in *.
set (G := sum K (fun j => g j ^ 2)) in *. apply Rmult_le_reg_l with (2 * lw); [lra|].
assert (Y : 2 * lw * (b + lw / 2 * a + lh / 2 * q) = lw ^ 2 * a + 2 * lw * b + lw * lh * q) by field. lra.
Qed.

Variables (W : nat -> nat -> R) (H : nat -> nat -> nat -> R).
Hypothesis H0 : nonneg = true -> forall k i a, 0 <= H k i a.

Definition mean a k := sum (n k) (fun i => H k i a) / INR (n k).

Lemma mean_ge0 a : nonneg = true -> forall k, 0 <= mean a k.
Proof.
intros P k. unfold mean. destruct (n k) as [|m] eqn:E; [simpl; unfold Rdiv; rewrite Rmult_0_l; lra|].
apply Rmult_le_pos; [apply sum_ge0; auto|]. left; apply Rinv_0_lt_compat, lt_0_INR; lia.
Qed.

Lemma mean_sum a k : INR (n k) * mean a k = sum (n k) (fun i => H k i a).
Proof.
unfold mean. destruct (n k) as [|m]; [simpl; ring|]. field. apply not_0_INR; discriminate.
Qed.

Lemma mean_square a k : INR (n k) * mean a k ^ 2 <= sum (n k) (fun i => H k i a ^ 2).
Proof.
unfold mean. destruct (n k) as [|m]; [simpl; lra|].
assert (P : 0 < INR (Datatypes.S m)) by (apply lt_0_INR; lia).
pose proof (sum_square (Datatypes.S m) (fun i => H k i a)) as C.
set (s := sum _ _) in *; set (q := sum _ _) in *.
apply Rmult_le_reg_l with (INR (Datatypes.S m)); [lra|].
replace (INR (Datatypes.S m) * (INR (Datatypes.S m) * (s / INR (Datatypes.S m)) ^ 2)) with (s ^ 2) by (field; lra). exact C.
Qed.

Theorem weak_duality : - sum K (fun k => pt k * c k) <=
  sum K (fun k => om k * sum (n k) (fun i => l k (logits d W (H k i)))) / N
  + lw / 2 * sum K (fun j => sum d (fun a => W j a ^ 2))
  + lh / 2 * sum K (fun k => sum (n k) (fun i => sum d (fun a => H k i a ^ 2))).
Proof.
assert (L : sum d (fun a => sum K (fun k => pt k * mean a k * sum K (fun j => v k j * W j a))) - sum K (fun k => pt k * c k)
  <= sum K (fun k => om k * sum (n k) (fun i => l k (logits d W (H k i)))) / N).
{ rewrite sum_swap, <- sum_minus. unfold Rdiv. rewrite <- sum_scal_r. apply sum_le; intros k Hk.
  assert (M : sum (n k) (fun i => sum K (fun j => v k j * logits d W (H k i) j) - c k)
    <= sum (n k) (fun i => l k (logits d W (H k i)))) by (apply sum_le; intros; apply FY; lia).
  rewrite sum_minus, sum_const in M.
  assert (E : sum (n k) (fun i => sum K (fun j => v k j * logits d W (H k i) j))
    = INR (n k) * sum d (fun a => mean a k * sum K (fun j => v k j * W j a))).
  { rewrite <- sum_scal. transitivity (sum (n k) (fun i => sum d (fun a => H k i a * sum K (fun j => v k j * W j a)))).
    - apply sum_ext; intros i _. transitivity (sum K (fun j => sum d (fun a => v k j * W j a * H k i a))).
      + apply sum_ext; intros j _. unfold logits. rewrite <- sum_scal. apply sum_ext; intros; ring.
      + rewrite sum_swap. apply sum_ext; intros a _. rewrite Rmult_comm, <- sum_scal_r. reflexivity.
    - rewrite sum_swap. apply sum_ext; intros a _. rewrite sum_scal_r, <- mean_sum. ring. }
  rewrite E in M. unfold pt, Rdiv.
  apply Rle_trans with (om k * (INR (n k) * sum d (fun a => mean a k * sum K (fun j => v k j * W j a)) - INR (n k) * c k) * / N).
  - right. rewrite Rmult_minus_distr_l, Rmult_minus_distr_r. f_equal; [|ring].
    transitivity (om k * INR (n k) * / N * sum d (fun a => mean a k * sum K (fun j => v k j * W j a))); [|ring].
    rewrite <- sum_scal. apply sum_ext; intros; ring.
  - apply Rmult_le_compat_r; [left; apply Rinv_0_lt_compat; assumption|]. apply Rmult_le_compat_l; auto. }
assert (Q : sum d (fun a => sum K (fun k => INR (n k) * mean a k ^ 2))
  <= sum K (fun k => sum (n k) (fun i => sum d (fun a => H k i a ^ 2)))).
{ rewrite sum_swap. apply sum_le; intros k _. rewrite sum_swap. apply sum_le; intros a _. apply mean_square. }
assert (C : 0 <= sum d (fun a => sum K (fun k => pt k * mean a k * sum K (fun j => v k j * W j a))
  + lw / 2 * sum K (fun j => W j a ^ 2) + lh / 2 * sum K (fun k => INR (n k) * mean a k ^ 2))).
{ apply sum_ge0; intros a _. apply coordinate. intros P k. apply mean_ge0; assumption. }
rewrite !sum_plus, !sum_scal in C. rewrite (sum_swap d K (fun a j => W j a ^ 2)) in C.
apply (Rmult_le_compat_l (lh / 2)) in Q; [|lra]. lra.
Qed.
End Weak.
