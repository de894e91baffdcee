(* The three proofs of the slack: on a frame, by orbits of alike classes, and dense, which is orbits of one class. *)
From Coq Require Import Reals List ZArith Lia Lra.
From UFM Require Import Model Sums.
Import ListNotations.
Open Scope R_scope.

(* -- a frame: v_k = -q_k (e_k - 1/K), s_k = pt_k q_k; features are >= 0 ------------------------------------------ *)

Lemma frame_slack K (s n x : nat -> R) (D : R) : (0 < K)%nat ->
  (forall k, (k < K)%nat -> 0 <= s k) -> (forall k, 0 <= x k) ->
  (forall k, (k < K)%nat -> s k ^ 2 * (INR K - 1) <= D * n k * INR K) ->
  sum K (fun j => sum K (fun k => - s k * (one_hot k j - / INR K) * x k) ^ 2) <= D * sum K (fun k => n k * x k ^ 2).
Proof.
intros K0 S X C. assert (P : 0 < INR K) by (apply lt_0_INR; assumption).
set (T := sum K (fun k => s k * x k)).
assert (E : forall j, (j < K)%nat -> sum K (fun k => - s k * (one_hot k j - / INR K) * x k) = T / INR K - s j * x j).
{ intros j L. transitivity (sum K (fun k => s k * x k * / INR K) - sum K (fun k => if (k =? j)%nat then s k * x k else 0)).
  - rewrite <- sum_minus. apply sum_ext; intros k _. unfold one_hot. rewrite (Nat.eqb_sym j k).
    destruct (k =? j)%nat; ring.
  - rewrite sum_scal_r. rewrite sum_single by assumption. reflexivity. }
rewrite (sum_ext K _ (fun j => T ^ 2 / INR K ^ 2 + (- 2 * T / INR K) * (s j * x j) + (s j * x j) ^ 2)).
2:{ intros j L. rewrite E by assumption. field. lra. }
rewrite !sum_plus, sum_const, sum_scal. fold T.
assert (J : sum K (fun k => (s k * x k) ^ 2) <= T ^ 2) by (apply sum_of_squares; intros; apply Rmult_le_pos; auto).
assert (M : (INR K - 1) * sum K (fun k => (s k * x k) ^ 2) <= INR K * (D * sum K (fun k => n k * x k ^ 2))).
{ rewrite <- !sum_scal. apply sum_le; intros k L. specialize (C k L). pose proof (pow2_ge_0 (x k)) as Q.
  apply (Rmult_le_compat_r (x k ^ 2)) in C; [|assumption]. lra. }
set (q := sum K (fun k => (s k * x k) ^ 2)) in *; set (r := D * _) in *.
apply Rmult_le_reg_l with (INR K); [assumption|].
replace (INR K * (INR K * (T ^ 2 / INR K ^ 2) + - 2 * T / INR K * T + q)) with (INR K * q - T ^ 2) by (field; lra). lra.
Qed.

(* -- dominance by the diagonal ------------------------------------------------------------------------------------ *)

Definition defect (nonneg : bool) (x : Z) : Z := if nonneg then Z.max 0 (- x) else Z.abs x.

Lemma defect_le nonneg (e : Z) (a b : R) : (nonneg = true -> 0 <= a * b) ->
  - (IZR (defect nonneg e) * (a ^ 2 + b ^ 2) / 2) <= IZR e * (a * b).
Proof.
intros P. pose proof (pow2_ge_0 (a - b)) as M1. pose proof (pow2_ge_0 (a + b)) as M2.
assert (L : - (a ^ 2 + b ^ 2) / 2 <= a * b <= (a ^ 2 + b ^ 2) / 2) by lra.
unfold defect. destruct nonneg.
- specialize (P eq_refl). destruct (Z.le_gt_cases 0 e) as [H|H].
  + rewrite Z.max_l by lia. apply IZR_le in H. nra.
  + rewrite Z.max_r by lia. rewrite opp_IZR. apply IZR_lt in H. nra.
- destruct (Z.le_gt_cases 0 e) as [H|H].
  + rewrite Z.abs_eq by lia. apply IZR_le in H. nra.
  + rewrite Z.abs_neq by lia. rewrite opp_IZR. apply IZR_lt in H. nra.
Qed.

Theorem dominance (nonneg : bool) (n : nat) (E : nat -> nat -> Z) (t : nat -> R) : (forall g h, E g h = E h g) ->
  (forall g, (g < n)%nat -> (zsum n (fun h => if (h =? g)%nat then 0 else defect nonneg (E g h)) <= E g g)%Z) ->
  (nonneg = true -> forall g, 0 <= t g) ->
  0 <= sum n (fun g => sum n (fun h => IZR (E g h) * (t g * t h))).
Proof.
intros sym dom P.
set (f := fun g h => if (h =? g)%nat then 0 else IZR (defect nonneg (E g h))).
assert (Fsym : forall g h, f g h = f h g) by (intros; unfold f; rewrite (Nat.eqb_sym h g), sym; reflexivity).
apply Rle_trans with (sum n (fun g => IZR (E g g) * t g ^ 2 - sum n (fun h => f g h * (t g ^ 2 + t h ^ 2) / 2))).
- rewrite sum_minus.
  assert (X : sum n (fun g => sum n (fun h => f g h * (t g ^ 2 + t h ^ 2) / 2)) = sum n (fun g => sum n (f g) * t g ^ 2)).
  { transitivity (sum n (fun g => sum n (fun h => f g h * t g ^ 2 / 2)) + sum n (fun g => sum n (fun h => f g h * t h ^ 2 / 2))).
    - rewrite <- sum_plus. apply sum_ext; intros g _. rewrite <- sum_plus. apply sum_ext; intros; lra.
    - rewrite (sum_swap n n (fun g h => f g h * t h ^ 2 / 2)), <- sum_plus. apply sum_ext; intros g _.
      rewrite <- sum_scal_r, <- sum_plus. apply sum_ext; intros h _. rewrite (Fsym h g). lra. }
  rewrite X, <- sum_minus. apply sum_ge0; intros g L. specialize (dom g L). apply IZR_le in dom. rewrite zsum_R in dom.
  assert (sum n (f g) <= IZR (E g g)).
  { apply Rle_trans with (2 := dom). right; apply sum_ext; intros h _. unfold f. destruct (h =? g)%nat; reflexivity. }
  pose proof (pow2_ge_0 (t g)). nra.
- apply sum_le; intros g L.
  rewrite <- (sum_single n g (fun h => IZR (E g h) * t h ^ 2) L), <- sum_minus. apply sum_le; intros h _. unfold f.
  destruct (Nat.eqb_spec h g) as [->|_]; [lra|].
  pose proof (defect_le nonneg (E g h) (t g) (t h)) as D.
  assert (nonneg = true -> 0 <= t g * t h) by (intros N; apply Rmult_le_pos; auto). specialize (D H). lra.
Qed.

(* -- orbits: V_kj is o at j = k, else X, by the runs of k and j -------------------------------------------------------- *)

Section Orbits.
Variables (ms : list Z) (nonneg : bool) (X tau : nat -> nat -> Z) (o r : nat -> Z) (width : nat) (C : nat -> nat -> Z).
Hypotheses (ms0 : positive_runs ms) (tau_sym : forall g h, tau g h = tau h g) (tau0 : forall g h, (0 <= tau g h)%Z)
  (tau_free : nonneg = false -> forall g h, tau g h = 0%Z).
Notation n := (length ms).
Notation K := (Z.to_nat (total ms)).
Definition m g := nth g ms 0%Z.
Definition B g := (o g - X g g)%Z.
Definition z g h := (m g * X g h + if (h =? g)%nat then B g else 0)%Z.
Definition E g h := ((if (h =? g)%nat then m g * r g + m g * tau g g else 0) - m g * m h * tau g h
  - zsum n (fun s => m s * z g s * z h s) - zsum width (fun i => C g i * C h i))%Z.
Hypothesis own : forall g, (g < n)%nat -> (2 <= m g)%Z -> (B g ^ 2 <= r g + tau g g)%Z.
Hypothesis dom : forall g, (g < n)%nat -> (zsum n (fun h => if (h =? g)%nat then 0 else defect nonneg (E g h)) <= E g g)%Z.

Lemma E_sym g h : E g h = E h g.
Proof.
unfold E. rewrite (Nat.eqb_sym g h). f_equal; [f_equal; [f_equal|]|].
- destruct (Nat.eqb_spec h g) as [->|_]; reflexivity.
- rewrite tau_sym. ring.
- apply eq_IZR. rewrite !zsum_R. apply sum_ext; intros. f_equal. ring.
- apply eq_IZR. rewrite !zsum_R. apply sum_ext; intros. f_equal. ring.
Qed.

Variable y : nat -> R.
Hypothesis y0 : nonneg = true -> forall k, 0 <= y k.
Notation Y := (within ms y).
Notation Q := (within ms (fun k => y k ^ 2)).
Definition mean g := Y g / size ms g.
Definition var g := Q g - size ms g * mean g ^ 2.

Lemma m_size g : IZR (m g) = size ms g. Proof. reflexivity. Qed.

Lemma Y_mean g : (g < n)%nat -> Y g = size ms g * mean g.
Proof. intros L. pose proof (size_pos ms g ms0 L). unfold mean. field. lra. Qed.

Lemma var_ge0 g : (g < n)%nat -> 0 <= var g.
Proof.
intros L. pose proof (size_pos ms g ms0 L) as S. pose proof (within_square ms y g ms0 L) as W. unfold var, mean.
apply Rmult_le_reg_l with (size ms g); [lra|].
assert (X1 : size ms g * (Q g - size ms g * (Y g / size ms g) ^ 2) = size ms g * Q g - Y g ^ 2) by (field; lra).
rewrite X1. lra.
Qed.

(* a run of one class: the sum has one term *)
Lemma within_single (f : nat -> R) g : (g < n)%nat -> m g = 1%Z -> exists c, within ms f g = f c /\ (forall f', within ms f' g = f' c).
Proof.
intros L M1. assert (EX : exists c, forall f', within ms f' g = f' c).
{ unfold within, m in *. clear -L M1 ms0. induction ms as [|m0 rest IH] in g, L, M1, ms0 |- *; [simpl in L; lia|].
  inversion ms0 as [|? ? P0 PR]; subst. assert (T := total_ge0 rest PR).
  cbn [total fold_right]. fold (total rest). destruct g as [|g].
  - cbn [nth] in M1. subst m0. exists O. intros f'. rewrite Z2Nat.inj_add, sum_add by lia.
    change (Z.to_nat 1) with 1%nat. cbn [sum]. rewrite (sum_ext (Z.to_nat (total rest)) _ (fun _ => 0)).
    + rewrite sum_0. change (run_of (1%Z :: rest) 0) with 0%nat. rewrite Nat.eqb_refl. lra.
    + intros i _. reflexivity.
  - cbn [nth] in M1. destruct (IH PR g ltac:(simpl in L; lia) M1) as [c Hc]. exists (Z.to_nat m0 + c)%nat. intros f'.
    rewrite Z2Nat.inj_add, sum_add by lia. rewrite (sum_ext (Z.to_nat m0) _ (fun _ => 0)).
    + rewrite sum_0, Rplus_0_l. rewrite <- (Hc (fun k => f' (Z.to_nat m0 + k)%nat)). apply sum_ext; intros i _. cbn [run_of].
      destruct (Nat.ltb_spec (Z.to_nat m0 + i) (Z.to_nat m0)); [lia|].
      replace (Z.to_nat m0 + i - Z.to_nat m0)%nat with i by lia. reflexivity.
    + intros i Hi. cbn [run_of]. destruct (Nat.ltb_spec i (Z.to_nat m0)); [reflexivity|lia]. }
destruct EX as [c Hc]. exists c. split; [apply Hc|exact Hc].
Qed.

Lemma var_single g : (g < n)%nat -> m g = 1%Z -> var g = 0.
Proof.
intros L M1. destruct (within_single y g L M1) as [c [_ Hc]]. unfold var, mean. rewrite !Hc. unfold size. fold (m g).
rewrite M1. field.
Qed.

Definition V k j := if (j =? k)%nat then o (run_of ms k) else X (run_of ms k) (run_of ms j).
Definition A s := sum n (fun g => IZR (X g s) * Y g).

Lemma row j : (j < K)%nat -> sum K (fun k => IZR (V k j) * y k) = A (run_of ms j) + IZR (B (run_of ms j)) * y j.
Proof.
intros L. unfold A. rewrite <- (sum_by_run ms (fun g => IZR (X g (run_of ms j))) y ms0).
rewrite (sum_ext K _ (fun k => if (k =? j)%nat then IZR (o (run_of ms k)) * y k else IZR (X (run_of ms k) (run_of ms j)) * y k)).
- rewrite sum_others by assumption. unfold B. rewrite minus_IZR. ring.
- intros k _. unfold V. rewrite (Nat.eqb_sym j k). destruct (k =? j)%nat; reflexivity.
Qed.

Lemma rows : sum K (fun j => sum K (fun k => IZR (V k j) * y k) ^ 2)
  = sum n (fun s => size ms s * (A s + IZR (B s) * mean s) ^ 2 + IZR (B s) ^ 2 * var s).
Proof.
rewrite (sum_ext K _ (fun j => A (run_of ms j) ^ 2 + (2 * A (run_of ms j) * IZR (B (run_of ms j))) * y j
  + IZR (B (run_of ms j)) ^ 2 * y j ^ 2)).
2:{ intros j L. rewrite row by assumption. ring. }
rewrite !sum_plus. rewrite (sum_classes ms (fun s => A s ^ 2) ms0).
rewrite (sum_by_run ms (fun s => 2 * A s * IZR (B s)) y ms0).
rewrite (sum_by_run ms (fun s => IZR (B s) ^ 2) (fun j => y j ^ 2) ms0).
rewrite <- !sum_plus. apply sum_ext; intros s L. rewrite (Y_mean s L). unfold var. ring.
Qed.

Lemma entry s : (s < n)%nat -> A s + IZR (B s) * mean s = sum n (fun g => IZR (z g s) * mean g).
Proof.
intros L. unfold A. rewrite <- (sum_single n s (fun g => IZR (B g) * mean g) L), <- sum_plus.
apply sum_ext; intros g Lg. rewrite (Y_mean g Lg). unfold z. rewrite plus_IZR, mult_IZR, m_size, (Nat.eqb_sym s g).
destruct (g =? s)%nat; ring.
Qed.

Lemma forms w (F : nat -> nat -> R) (c : nat -> R) : sum n (fun g => sum n (fun h => sum w (fun i => c i * F g i * F h i) * (mean g * mean h)))
  = sum w (fun i => c i * sum n (fun g => F g i * mean g) ^ 2).
Proof.
transitivity (sum n (fun g => sum w (fun i => c i * (F g i * mean g) * sum n (fun h => F h i * mean h)))).
- apply sum_ext; intros g _. transitivity (sum n (fun h => sum w (fun i => c i * (F g i * mean g) * (F h i * mean h)))).
  + apply sum_ext; intros h _. rewrite <- sum_scal_r. apply sum_ext; intros; ring.
  + rewrite sum_swap. apply sum_ext; intros i _. rewrite sum_scal. reflexivity.
- rewrite sum_swap. apply sum_ext; intros i _. rewrite sum_scal_r, sum_scal. ring.
Qed.

Theorem orbits : sum K (fun j => sum K (fun k => IZR (V k j) * y k) ^ 2) <= sum K (fun k => IZR (r (run_of ms k)) * y k ^ 2).
Proof.
rewrite rows. rewrite (sum_by_run ms (fun s => IZR (r s)) (fun k => y k ^ 2) ms0).
assert (T0 : nonneg = true -> forall g, 0 <= mean g).
{ intros N g. unfold mean. destruct (Nat.lt_ge_cases g n) as [L|L].
  - pose proof (size_pos ms g ms0 L). apply Rmult_le_pos; [apply within_ge0; auto|left; apply Rinv_0_lt_compat; lra].
  - unfold within. rewrite (sum_ext _ _ (fun _ => 0)); [rewrite sum_0; unfold Rdiv; rewrite Rmult_0_l; lra|].
    intros k Hk. pose proof (run_of_lt ms k ms0 Hk). destruct (Nat.eqb_spec (run_of ms k) g); [lia|reflexivity]. }
pose proof (dominance nonneg n E mean E_sym dom T0) as D.
set (tt := sum n (fun g => sum n (fun h => size ms g * size ms h * IZR (tau g h) * (mean g * mean h)))) in *.
assert (X1 : sum n (fun g => sum n (fun h => IZR (E g h) * (mean g * mean h)))
  = sum n (fun g => size ms g * (IZR (r g) + IZR (tau g g)) * mean g ^ 2) - tt
    - sum n (fun s => size ms s * sum n (fun g => IZR (z g s) * mean g) ^ 2)
    - sum width (fun i => 1 * sum n (fun g => IZR (C g i) * mean g) ^ 2)).
{ rewrite <- (forms n (fun g s => IZR (z g s)) (size ms)), <- (forms width (fun g i => IZR (C g i)) (fun _ => 1)).
  unfold tt. rewrite <- !sum_minus. apply sum_ext; intros g Lg.
  rewrite <- (sum_single n g (fun h => size ms h * (IZR (r h) + IZR (tau h h)) * mean h ^ 2) Lg), <- !sum_minus.
  apply sum_ext; intros h Lh. unfold E. rewrite !minus_IZR, !mult_IZR, !zsum_R, !m_size.
  rewrite (sum_ext n (fun i => IZR (m i * z g i * z h i)) (fun i => size ms i * IZR (z g i) * IZR (z h i)))
    by (intros; rewrite !mult_IZR, m_size; reflexivity).
  rewrite (sum_ext width (fun i => IZR (C g i * C h i)) (fun i => 1 * IZR (C g i) * IZR (C h i)))
    by (intros; rewrite mult_IZR; ring).
  destruct (Nat.eqb_spec h g) as [->|]; [rewrite plus_IZR, !mult_IZR, m_size|]; ring. }
rewrite X1 in D.
assert (C0 : 0 <= sum width (fun i => 1 * sum n (fun g => IZR (C g i) * mean g) ^ 2)).
{ apply sum_ge0; intros. pose proof (pow2_ge_0 (sum n (fun g => IZR (C g i) * mean g))). lra. }
rewrite sum_plus.
rewrite (sum_ext n (fun s => size ms s * (A s + IZR (B s) * mean s) ^ 2)
  (fun s => size ms s * sum n (fun g => IZR (z g s) * mean g) ^ 2)) by (intros s L; rewrite entry by assumption; reflexivity).
assert (V1 : sum n (fun s => IZR (B s) ^ 2 * var s) <= sum n (fun s => (IZR (r s) + IZR (tau s s)) * var s)).
{ apply sum_le; intros s L. pose proof (size_pos ms s ms0 L) as S1. unfold size in S1. fold (m s) in S1. apply le_IZR in S1.
  destruct (Z.eq_dec (m s) 1) as [M1|M1]; [rewrite (var_single s L M1); lra|].
  specialize (own s L ltac:(lia)). apply IZR_le in own. rewrite plus_IZR in own.
  rewrite Z.pow_2_r, mult_IZR in own.
  apply Rmult_le_compat_r; [apply var_ge0; assumption|]. nra. }
assert (QS : sum n (fun s => (IZR (r s) + IZR (tau s s)) * Q s)
  = sum n (fun g => size ms g * (IZR (r g) + IZR (tau g g)) * mean g ^ 2) + sum n (fun s => (IZR (r s) + IZR (tau s s)) * var s)).
{ rewrite <- sum_plus. apply sum_ext; intros s _. unfold var. ring. }
assert (RQ : sum n (fun s => (IZR (r s) + IZR (tau s s)) * Q s) = sum n (fun s => IZR (r s) * Q s) + sum n (fun s => IZR (tau s s) * Q s)).
{ rewrite <- sum_plus. apply sum_ext; intros; ring. }
assert (TQ : sum n (fun s => IZR (tau s s) * Q s) <= tt).
{ destruct nonneg eqn:N.
  - unfold tt. apply sum_le; intros g L. pose proof (tau0 g g) as P0. apply IZR_le in P0.
    apply Rle_trans with (IZR (tau g g) * Y g ^ 2).
    + apply Rmult_le_compat_l; [assumption|]. apply within_squares. auto.
    + rewrite <- (sum_single n g (fun h => IZR (tau h h) * Y h ^ 2) L). apply sum_le; intros h Lh.
      assert (0 <= IZR (tau g h)) by (apply IZR_le; auto). pose proof (size_pos ms g ms0 L). pose proof (size_pos ms h ms0 Lh).
      pose proof (T0 eq_refl g). pose proof (T0 eq_refl h).
      destruct (Nat.eqb_spec h g) as [->|]; [rewrite (Y_mean g L); right; ring|].
      apply Rmult_le_pos; [|apply Rmult_le_pos; assumption].
      apply Rmult_le_pos; [|assumption]. apply Rmult_le_pos; lra.
  - unfold tt. rewrite (sum_ext n _ (fun _ => 0)), sum_0 by (intros; rewrite tau_free by reflexivity; ring).
    right. symmetry. rewrite (sum_ext n _ (fun _ => 0)), sum_0; [reflexivity|]. intros g _.
    rewrite (sum_ext n _ (fun _ => 0)), sum_0; [reflexivity|]. intros. rewrite tau_free by reflexivity. ring. }
lra.
Qed.
End Orbits.
