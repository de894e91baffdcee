(* Weak duality, sample by sample: no convexity is needed, only the inequality of Fenchel and Young at the points used. *)
From Coq Require Import Reals List ZArith Lia Lra.
From UFM Require Import Model Sums.
Open Scope R_scope.

Section Weak.
Variables (K d : nat) (n : nat -> nat) (om nu : nat -> R) (N al be : R) (nonneg : bool).
Variables (l : nat -> (nat -> R) -> R) (v : nat -> nat -> R) (c : nat -> R).
Hypotheses (N0 : 0 < N) (al0 : 0 <= al) (be0 : 0 <= be) (om0 : forall k, (k < K)%nat -> 0 <= om k)
  (nu0 : forall k, (k < K)%nat -> 0 <= nu k).

Definition pt k := om k * INR (n k) / N.
Definition slack := forall x : nat -> R, (nonneg = true -> forall k, 0 <= x k) ->
  sum K (fun j => sum K (fun k => pt k * v k j * x k) ^ 2) <= al * be * sum K (fun k => nu k * x k ^ 2).
Hypothesis FY : forall k z, (k < K)%nat -> (0 < n k)%nat -> sum K (fun j => v k j * z j) - c k <= l k z.
Hypothesis S : slack.

(* one coordinate *)
Lemma coordinate (w x : nat -> R) : (nonneg = true -> forall k, 0 <= x k) ->
  0 <= sum K (fun k => pt k * x k * sum K (fun j => v k j * w j)) + al / 2 * sum K (fun j => w j ^ 2)
       + be / 2 * sum K (fun k => nu k * x k ^ 2).
Proof.
intros P. specialize (S x P).
assert (Q0 : 0 <= sum K (fun k => nu k * x k ^ 2)) by (apply sum_ge0; intros k L; apply Rmult_le_pos; [auto|apply pow2_ge_0]).
set (q := sum K (fun k => nu k * x k ^ 2)) in *.
set (g := fun j => sum K (fun k => pt k * v k j * x k)). change (sum K (fun j => g j ^ 2) <= al * be * q) in S.
assert (E : sum K (fun k => pt k * x k * sum K (fun j => v k j * w j)) = sum K (fun j => g j * w j)).
{ transitivity (sum K (fun k => sum K (fun j => pt k * v k j * x k * w j))).
  - apply sum_ext; intros k _. rewrite <- sum_scal. apply sum_ext; intros; ring.
  - rewrite sum_swap. apply sum_ext; intros j _. unfold g. rewrite sum_scal_r. reflexivity. }
rewrite E. set (G := sum K (fun j => g j ^ 2)) in *.
assert (X : sum K (fun j => (al * w j + g j) ^ 2) = al ^ 2 * sum K (fun j => w j ^ 2) + 2 * al * sum K (fun j => g j * w j) + G).
{ unfold G. rewrite <- !sum_scal, <- !sum_plus. apply sum_ext; intros; ring. }
assert (Q : 0 <= sum K (fun j => (al * w j + g j) ^ 2)) by (apply sum_ge0; intros; apply pow2_ge_0).
rewrite X in Q. set (a := sum K (fun j => w j ^ 2)) in *. destruct al0 as [A|A].
- set (b := sum K (fun j => g j * w j)) in *. apply Rmult_le_reg_l with (2 * al); [lra|].
  assert (Y : 2 * al * (b + al / 2 * a + be / 2 * q) = al ^ 2 * a + 2 * al * b + al * be * q) by field. lra.
- (* no decay of W: U x = 0 *)
  assert (Z : forall j, (j < K)%nat -> g j = 0).
  { intros j L. assert (T : g j ^ 2 <= G).
    { unfold G. rewrite <- (sum_single K j (fun i => g i ^ 2) L). apply sum_le; intros i _.
      destruct (i =? j)%nat; [lra|apply pow2_ge_0]. }
    rewrite <- A in S. rewrite !Rmult_0_l in S. pose proof (pow2_ge_0 (g j)) as P2.
    apply Rsqr_0_uniq. rewrite Rsqr_pow2. lra. }
  rewrite (sum_ext K (fun j => g j * w j) (fun _ => 0)), sum_0 by (intros j L; rewrite Z by assumption; ring).
  rewrite <- A. apply (Rmult_le_compat_l (be / 2)) in Q0; lra.
Qed.

Variables (W : nat -> nat -> R) (H : nat -> nat -> nat -> R) (b : nat -> R).
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

Lemma mean_squares k : INR (n k) * square d (fun a => mean a k) <= sum (n k) (fun i => square d (H k i)).
Proof.
unfold square. rewrite <- sum_scal, sum_swap. apply sum_le; intros a _. apply mean_square.
Qed.

Theorem weak_duality :
  sum K (fun k => pt k * sum K (fun j => v k j * b j)) - sum K (fun k => pt k * c k)
  - al / 2 * sum K (fun j => square d (W j)) - be / 2 * sum K (fun k => nu k * square d (fun a => mean a k))
  <= sum K (fun k => om k * sum (n k) (fun i => l k (logits d W (H k i) b))) / N.
Proof.
assert (L : sum d (fun a => sum K (fun k => pt k * mean a k * sum K (fun j => v k j * W j a)))
    + sum K (fun k => pt k * sum K (fun j => v k j * b j)) - sum K (fun k => pt k * c k)
  <= sum K (fun k => om k * sum (n k) (fun i => l k (logits d W (H k i) b))) / N).
{ rewrite sum_swap, <- sum_plus, <- sum_minus. unfold Rdiv. rewrite <- sum_scal_r. apply sum_le; intros k Hk.
  assert (M : sum (n k) (fun i => sum K (fun j => v k j * logits d W (H k i) b j) - c k)
    <= sum (n k) (fun i => l k (logits d W (H k i) b))) by (apply sum_le; intros; apply FY; lia).
  rewrite sum_minus, sum_const in M. set (vb := sum K (fun j => v k j * b j)).
  assert (E : sum (n k) (fun i => sum K (fun j => v k j * logits d W (H k i) b j))
    = INR (n k) * sum d (fun a => mean a k * sum K (fun j => v k j * W j a)) + INR (n k) * vb).
  { transitivity (sum (n k) (fun i => sum d (fun a => H k i a * sum K (fun j => v k j * W j a)) + vb)).
    - apply sum_ext; intros i _. transitivity (sum K (fun j => sum d (fun a => v k j * W j a * H k i a) + v k j * b j)).
      + apply sum_ext; intros j _. unfold logits. rewrite Rmult_plus_distr_l, <- sum_scal. f_equal. apply sum_ext; intros; ring.
      + rewrite sum_plus. f_equal. rewrite sum_swap. apply sum_ext; intros a _. rewrite Rmult_comm, <- sum_scal_r. reflexivity.
    - rewrite sum_plus, sum_const. f_equal. rewrite sum_swap, <- sum_scal. apply sum_ext; intros a _. rewrite sum_scal_r, <- mean_sum. ring. }
  rewrite E in M. unfold pt, Rdiv. set (wh := sum d (fun a => mean a k * sum K (fun j => v k j * W j a))) in *.
  apply Rle_trans with (om k * (INR (n k) * wh + INR (n k) * vb - INR (n k) * c k) * / N).
  - right. assert (T : sum d (fun a => om k * INR (n k) * / N * mean a k * sum K (fun j => v k j * W j a)) = om k * INR (n k) * / N * wh).
    { unfold wh. rewrite <- sum_scal. apply sum_ext; intros; ring. }
    rewrite T. ring.
  - apply Rmult_le_compat_r; [left; apply Rinv_0_lt_compat; assumption|]. apply Rmult_le_compat_l; auto. }
assert (C : 0 <= sum d (fun a => sum K (fun k => pt k * mean a k * sum K (fun j => v k j * W j a))
  + al / 2 * sum K (fun j => W j a ^ 2) + be / 2 * sum K (fun k => nu k * mean a k ^ 2))).
{ apply sum_ge0; intros a _. apply coordinate. intros P k. apply mean_ge0; assumption. }
rewrite !sum_plus, !sum_scal in C. rewrite (sum_swap d K (fun a j => W j a ^ 2)), (sum_swap d K (fun a k => nu k * mean a k ^ 2)) in C.
rewrite (sum_ext K (fun k => sum d (fun a => nu k * mean a k ^ 2)) (fun k => nu k * square d (fun a => mean a k))) in C
  by (intros; unfold square; rewrite sum_scal; reflexivity).
change (sum K (fun j => square d (W j))) with (sum K (fun j => sum d (fun a => W j a ^ 2))). lra.
Qed.
End Weak.
