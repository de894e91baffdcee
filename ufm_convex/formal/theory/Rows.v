(* W, features and biases written entry by entry: squares, and the logits of one feature. *)
From Coq Require Import Reals List ZArith QArith Qreals Lia Lra.
From UFM Require Import Model Sums Losses Compute Lower Logits.
Import ListNotations.
Open Scope R_scope.

Lemma dot_sum n : forall a b, length a = n -> length b = n -> IZR (dot a b) = sum n (fun i => IZR (nth i a 0%Z) * IZR (nth i b 0%Z)).
Proof.
induction n as [|n IH]; intros [|y a] [|z b] La Lb; try discriminate; [reflexivity|].
rewrite sum_S. cbn [dot nth]. rewrite plus_IZR, mult_IZR, IH by (simpl in *; lia). reflexivity.
Qed.

Lemma power_plus a b : real (1%Z, (a + b)%Z) = real (1%Z, a) * real (1%Z, b).
Proof. unfold real. cbn [fst snd]. rewrite powerRZ_add by lra. ring. Qed.

Lemma filter_sum (f : nat -> R) n k (g : nat -> Z * (Q * Q)) (w : Q -> Q -> R) : (k < n)%nat ->
  (forall j, IZR (fst (g j)) * w (fst (snd (g j))) (snd (snd (g j))) = f j) ->
  weighted (map g (filter (fun j => negb (j =? k)%nat) (seq 0 n))) w = sum n f - f k.
Proof.
intros L E. assert (A : forall n, weighted (map g (filter (fun j => negb (j =? k)%nat) (seq 0 n))) w = sum n (fun j => if (j =? k)%nat then 0 else f j)).
{ clear n L. induction n as [|n IH]; [reflexivity|]. rewrite seq_S. cbn [sum Nat.add]. rewrite filter_app, map_app.
  assert (APP : forall a b, weighted (a ++ b) w = weighted a w + weighted b w).
  { induction a as [|[m [y z]] a IHa]; intros b; cbn [app weighted]; [lra|]. rewrite IHa. lra. }
  rewrite APP, IH. f_equal. cbn [filter]. destruct (n =? k)%nat; cbn [negb map weighted]; [reflexivity|].
  specialize (E n). destruct (g n) as [m [y z]]. cbn [fst snd] in E. rewrite E. lra. }
rewrite A, sum_others by assumption. ring.
Qed.

Lemma vector_unit e row a : vector e row a = IZR (nth a row 0%Z) * real (1%Z, e).
Proof. unfold vector, real. cbn [fst snd]. ring. Qed.

Lemma unit_pos e : 0 < real (1%Z, e).
Proof. unfold real. cbn [fst snd]. rewrite Rmult_1_l. apply powerRZ_lt. lra. Qed.

Lemma vector_ge0 e row a : (0 <= nth a row 0)%Z -> 0 <= vector e row a.
Proof. intros P. rewrite vector_unit. apply Rmult_le_pos; [apply IZR_le; exact P|left; apply unit_pos]. Qed.

Lemma vector_nil e a : vector e [] a = 0.
Proof. rewrite vector_unit. destruct a; cbn [nth]; ring. Qed.

Definition squares (row : list Z) : Z := dot row row.
Lemma vector_square d e row : length row = d -> square d (vector e row) = IZR (squares row) * real (1%Z, (2 * e)%Z).
Proof.
intros L. unfold square, squares. rewrite (dot_sum d) by assumption. replace (2 * e)%Z with (e + e)%Z by lia. rewrite power_plus, <- sum_scal_r.
apply sum_ext; intros a _. rewrite vector_unit. ring.
Qed.

Section Rows.
Variables (P : coded) (eW eH eb : Z) (rowsW : list (list Z)) (bs : list Z).
Notation ms := (multiplicities P).
Notation K := (classes P).
Notation l := (code_of P).
Definition bias_at (j : nat) : Q := (inject_Z (nth j bs 0%Z) * rational (1%Z, eb))%Q.
Definition b_total : Q := (inject_Z (zsum K (fun j => nth j bs 0 * nth j bs 0)%Z) * rational (1%Z, (2 * eb)%Z))%Q.
(* the logits of the feature h, if it is of class k *)
Definition raw_of (h : list Z) (j : nat) : Q := (inject_Z (dot (nth j rowsW []) h) * rational (1%Z, (eW + eH)%Z) + bias_at j)%Q.
Definition logit_of (k : nat) (h : list Z) (j : nat) : Q :=
  if alike l then raw_of h j
  else (scale_of l (run_of ms j) * raw_of h j + shift_of P (run_of ms k) (run_of ms j) (j =? k)%nat)%Q.
Definition others_of (k : nat) (h : list Z) : list (Z * (Q * Q)) :=
  map (fun j => (1%Z, (target_of P (run_of ms k) (run_of ms j) false, logit_of k h j)))
      (filter (fun j => negb (j =? k)%nat) (seq 0 K)).
Definition column_at (k : nat) (h : list Z) : logit_column :=
  (others_of k h, (target_of P (run_of ms k) (run_of ms k) true, logit_of k h k)).

Lemma b_square : square K (vector eb bs) = Q2R b_total.
Proof.
unfold b_total, square. rewrite Q2R_mult, Q2R_IZR, rational_real, zsum_R. replace (2 * eb)%Z with (eb + eb)%Z by lia.
rewrite power_plus, <- sum_scal_r. apply sum_ext; intros j _. rewrite mult_IZR, vector_unit. ring.
Qed.

Lemma column_stands d k h : valid P = true -> (k < K)%nat -> (forall j, (j < K)%nat -> length (nth j rowsW []) = d) -> length h = d ->
  stands_for (column_at k h) K k (target l K k) (fed l k (logits d (fun j => vector eW (nth j rowsW [])) (vector eH h) (vector eb bs))).
Proof.
intros ok L LW LH. set (z := logits _ _ _ _).
assert (RAW : forall j, (j < K)%nat -> z j = Q2R (raw_of h j)).
{ intros j Lj. unfold z, logits, raw_of, bias_at. rewrite Q2R_plus, !Q2R_mult, !Q2R_IZR, !rational_real, power_plus, vector_unit. f_equal.
  rewrite (dot_sum d) by auto. rewrite <- sum_scal_r. apply sum_ext; intros a _. rewrite !vector_unit. ring. }
assert (LOG : forall j, (j < K)%nat -> fed l k z j = Q2R (logit_of k h j)).
{ intros j Lj. unfold logit_of. destruct (alike l) eqn:A; [rewrite fed_alike by assumption; apply RAW; assumption|].
  unfold fed. rewrite Q2R_plus, Q2R_mult, RAW, (shift_R P ok k j), (proj1 (scale_R P ok j Lj)) by assumption. reflexivity. }
split; [|split].
- intros f. unfold column_sum, column_at, others_of. cbn [fst snd].
  rewrite (filter_sum (fun j => f false (Q2R (target_of P (run_of ms k) (run_of ms j) false)) (Q2R (logit_of k h j))) K k) by
    (try assumption; intros j; cbn [fst snd]; ring).
  rewrite (sum_ext K _ (fun j => if (j =? k)%nat then f true (Q2R (target_of P (run_of ms k) (run_of ms j) true)) (Q2R (logit_of k h j))
     else f false (Q2R (target_of P (run_of ms k) (run_of ms j) false)) (Q2R (logit_of k h j)))).
  + rewrite (sum_others K k (fun j => f true _ _) (fun j => f false _ _) L). ring.
  + intros j Lj. rewrite target_R, LOG by assumption. destruct (j =? k)%nat; reflexivity.
- apply LOG; assumption.
- intros j Lj N. exists 1%Z. eexists. split.
  + unfold column_at, others_of. cbn [fst]. apply in_map_iff. exists j. split; [reflexivity|]. apply filter_In. split; [apply in_seq; lia|].
    destruct (Nat.eqb_spec j k); [contradiction|reflexivity].
  + cbn [snd]. apply LOG; assumption.
Qed.
End Rows.
