(* Lower bounds that a computation proves. *)
From Coq Require Import Reals List ZArith QArith Qreals Lia Lra.
From UFM Require Import Model Sums Duality Losses Slack Compute.
Import ListNotations.
Open Scope R_scope.

Definition lower_bound (P : problem) (x : dyadic) : Prop :=
  forall d W H b, admissible P d W H b -> real x <= objective P d W H b.

(* -- what is asked of a problem ---------------------------------------------------------------------------------------- *)

Definition count (P : problem) (r : nat) : Z := nth r (counts P) 0%Z.
Definition weight_of (P : problem) (r : nat) : Q := rational (nth r (weights P) (1, 0)%Z).
Definition population (P : problem) : Z :=
  zsum (length (multiplicities P)) (fun r => nth r (multiplicities P) 0 * count P r)%Z.
Definition K_of (P : problem) : Z := total (multiplicities P).
Definition share (P : problem) (r : nat) : Q := (weight_of P r * inject_Z (count P r) * over (population P))%Q.
Definition scale_of (l : loss) (s : nat) : Q :=
  match l with LogitAdjusted scales _ => rational (nth s scales (1, 0)%Z) | _ => 1%Q end.

(* the second is not computed where the first is false *)
Notation "a &&& b" := (if a then b else false) (at level 40, left associativity).
Lemma lazy_prop (a b : bool) : a &&& b = true -> a = true /\ b = true.
Proof. destruct a; [auto|discriminate]. Qed.

Fixpoint all (n : nat) (f : nat -> bool) : bool := match n with O => true | S m => if all m f then f m else false end.
Lemma all_true n f : all n f = true -> forall i, (i < n)%nat -> f i = true.
Proof.
induction n; cbn [all]; intros H i L; [lia|]. destruct (all n f) eqn:E; [|discriminate].
destruct (Nat.eq_dec i n) as [->|]; [assumption|]. apply IHn; [reflexivity|lia].
Qed.

Fixpoint qsum (m : nat) (f : nat -> Q) : Q := match m with O => 0%Q | S i => (qsum i f + f i)%Q end.
Lemma qsum_R m f : Q2R (qsum m f) = sum m (fun i => Q2R (f i)).
Proof. induction m; cbn [qsum sum]; [apply Q2R_0|]. rewrite Q2R_plus, IHm. reflexivity. Qed.

Definition targets_fit (l : loss) (n : nat) : bool :=
  match l with
  | SoftTargets e rows => all n (fun k => Qeq_bool (rational (zsum n (fun j => nth j (nth k rows []) 0%Z), e)) 1)
  | LogitAdjusted _ _ => all n (fun s => Qlt_bool 0 (scale_of l s))
  | _ => true
  end.

Definition valid (P : coded) : bool :=
  let R := length (multiplicities P) in
  forallb (fun m => if alike (code_of P) then 0 <? m else m =? 1)%Z (multiplicities P)
  && all R (fun r => (0 <=? count P r)%Z && Qlt_bool 0 (weight_of P r))
  && match sizes_of P with
     | Decays lw lh => Qlt_bool 0 (rational lw) && Qlt_bool 0 (rational lh)
     | Radii _ _ => all R (fun r => 0 <? count P r)%Z
     end
  && match bias_of P with PenalisedBias lb => Qlt_bool 0 (rational lb) | _ => true end
  && (0 <? population P)%Z && targets_fit (code_of P) R.

Lemma Qpos q : Qlt_bool 0 q = true -> 0 < Q2R q.
Proof. intros H. apply Qlt_R in H. rewrite Q2R_0 in H. exact H. Qed.

Section Valid.
Variable P : coded.
Hypothesis ok : valid P = true.
Notation ms := (multiplicities P).
Notation K := (classes P).
Notation n := (length ms).
Notation l := (code_of P).

Lemma valid_parts : forallb (fun m => if alike l then 0 <? m else m =? 1)%Z ms = true
  /\ (forall r, (r < n)%nat -> (0 <= count P r)%Z /\ 0 < Q2R (weight_of P r))
  /\ match sizes_of P with
     | Decays lw lh => 0 < real lw /\ 0 < real lh
     | Radii _ _ => forall r, (r < n)%nat -> (0 < count P r)%Z
     end
  /\ match bias_of P with PenalisedBias lb => 0 < real lb | _ => True end
  /\ (0 < population P)%Z /\ targets_fit l n = true.
Proof.
unfold valid in ok. repeat (apply andb_prop in ok as [ok ?]).
split; [exact ok|]. split; [|split; [|split; [|split]]].
- intros r L. pose proof (all_true _ _ H3 r L) as E. cbv beta in E. apply andb_prop in E as [E1 E2].
  split; [apply Z.leb_le, E1|apply Qpos, E2].
- destruct (sizes_of P).
  + apply andb_prop in H2 as [A B]. rewrite <- !rational_real. split; apply Qpos; assumption.
  + intros r L. pose proof (all_true _ _ H2 r L) as E. apply Z.ltb_lt, E.
- destruct (bias_of P); try exact Logic.I. rewrite <- rational_real. apply Qpos; assumption.
- apply Z.ltb_lt. assumption.
- assumption.
Qed.

Lemma ms_pos : positive_runs ms.
Proof.
destruct valid_parts as [F _]. unfold positive_runs. rewrite Forall_forall. rewrite forallb_forall in F. intros m I.
specialize (F m I). destruct (alike l); [apply Z.ltb_lt, F|apply Z.eqb_eq in F; lia].
Qed.

Lemma classes_K : K = Z.to_nat (total ms). Proof. reflexivity. Qed.
Lemma INR_K : INR K = IZR (K_of P).
Proof. rewrite classes_K, INR_IZR_INZ, Z2Nat.id by apply total_ge0, ms_pos. reflexivity. Qed.

Lemma samples_R k : (k < K)%nat -> INR (samples P k) = IZR (count P (run_of ms k)).
Proof.
intros L. unfold samples. rewrite INR_IZR_INZ, Z2Nat.id; [reflexivity|].
destruct valid_parts as [_ [F _]]. apply (F (run_of ms k)), run_of_lt; [apply ms_pos|exact L].
Qed.

Lemma all_samples_R : all_samples P = IZR (population P).
Proof.
unfold all_samples. rewrite (sum_ext _ _ (fun k => IZR (count P (run_of ms k)))) by apply samples_R.
rewrite classes_K, (sum_classes ms (fun r => IZR (count P r)) ms_pos). unfold population. rewrite zsum_R.
apply sum_ext; intros r _. rewrite mult_IZR. reflexivity.
Qed.

Lemma population_pos : 0 < all_samples P.
Proof. rewrite all_samples_R. apply IZR_lt. apply valid_parts. Qed.

Lemma weight_R k : weight P k = Q2R (weight_of P (run_of ms k)).
Proof. unfold weight, weight_of. symmetry. apply rational_real. Qed.

Lemma weight_pos k : (k < K)%nat -> 0 < weight P k.
Proof. intros L. rewrite weight_R. destruct valid_parts as [_ [F _]]. apply F, run_of_lt; [apply ms_pos|exact L]. Qed.

Lemma share_R k : (k < K)%nat -> pt (samples P) (weight P) (all_samples P) k = Q2R (share P (run_of ms k)).
Proof.
intros L. unfold pt, share. rewrite !Q2R_mult, Q2R_IZR, over_R by apply valid_parts.
rewrite weight_R, samples_R, all_samples_R by assumption. reflexivity.
Qed.

Lemma share_ge0 k : (k < K)%nat -> 0 <= pt (samples P) (weight P) (all_samples P) k.
Proof.
intros L. unfold pt. apply Rmult_le_pos; [apply Rmult_le_pos; [left; apply weight_pos; assumption|apply pos_INR]|].
left. apply Rinv_0_lt_compat, population_pos.
Qed.

Lemma K_pos : (0 < K)%nat.
Proof.
destruct (Nat.eq_dec K 0) as [E|]; [|lia]. pose proof population_pos as H. unfold all_samples in H. rewrite E in H.
cbn in H. lra.
Qed.

Lemma K_of_pos : (0 < K_of P)%Z.
Proof. apply lt_IZR. rewrite <- INR_K. apply lt_0_INR, K_pos. Qed.

(* -- targets -- *)

Definition target_of (r s : nat) (own : bool) : Q :=
  match l with
  | CrossEntropy a => ((if own then 1 - rational a else 0) + rational a * over (K_of P))%Q
  | SoftTargets e rows => rational (nth s (nth r rows []) 0%Z, e)
  | LogitAdjusted _ _ | LabelMargins _ => if own then 1%Q else 0%Q
  | _ => 0%Q
  end.

Lemma singles : alike l = false -> forall k, (k < K)%nat -> run_of ms k = k.
Proof.
intros A k. rewrite classes_K. destruct valid_parts as [F _]. rewrite A in F. clear -F. revert k.
induction ms as [|m ms' IH]; intros k L; [simpl in L; lia|].
cbn [forallb] in F. apply andb_prop in F as [M F]. apply Z.eqb_eq in M. subst m.
cbn [run_of]. change (Z.to_nat 1) with 1%nat. destruct (Nat.ltb_spec k 1); [lia|]. rewrite IH; [lia|assumption|].
cbn [total fold_right] in L. fold (total ms') in L.
assert (0 <= total ms')%Z.
{ apply total_ge0. unfold positive_runs. rewrite Forall_forall. rewrite forallb_forall in F. intros m I.
  specialize (F m I). apply Z.eqb_eq in F. lia. }
lia.
Qed.

Lemma singles_length : alike l = false -> K = n.
Proof.
intros A. rewrite classes_K. destruct valid_parts as [F _]. rewrite A in F. clear -F.
assert (T : total ms = Z.of_nat (length ms)); [|rewrite T; lia].
induction ms as [|m ms' IH]; [reflexivity|]. cbn [forallb] in F. apply andb_prop in F as [M F]. apply Z.eqb_eq in M.
cbn [total fold_right length]. fold (total ms'). rewrite IH by assumption. lia.
Qed.

Lemma target_R k j : (k < K)%nat -> (j < K)%nat -> target l K k j = Q2R (target_of (run_of ms k) (run_of ms j) (j =? k)%nat).
Proof.
intros Lk Lj. unfold target, target_of. destruct l eqn:E; try (symmetry; apply Q2R_0).
- rewrite Q2R_plus, Q2R_mult, over_R by apply K_of_pos. rewrite rational_real, INR_K. unfold one_hot.
  destruct (j =? k)%nat; [rewrite Q2R_minus, Q2R_1, rational_real|rewrite Q2R_0]; unfold Rdiv; ring.
- assert (A : alike l = false) by (rewrite E; reflexivity). rewrite !singles by assumption. symmetry. apply rational_real.
- unfold one_hot. destruct (j =? k)%nat; [rewrite Q2R_1|rewrite Q2R_0]; reflexivity.
- unfold one_hot. destruct (j =? k)%nat; [rewrite Q2R_1|rewrite Q2R_0]; reflexivity.
Qed.

Lemma target_sum k : (k < K)%nat -> sum K (target l K k) = if softmax l then 1 else 0.
Proof.
intros L. pose proof K_pos as K0. apply lt_0_INR in K0. unfold target. destruct l eqn:E; cbn [softmax]; try apply sum_0.
- rewrite sum_plus, sum_scal, sum_const. unfold one_hot. rewrite (sum_single K k (fun _ => 1)) by assumption. field. lra.
- assert (A : alike l = false) by (rewrite E; reflexivity). destruct valid_parts as [_ [_ [_ [_ [_ T]]]]].
  rewrite E in T. cbn [targets_fit] in T. rewrite (singles_length A) in *. pose proof (all_true _ _ T k L) as Q. cbv beta in Q.
  apply Qeq_bool_iff, Qeq_eqR in Q. rewrite rational_real, Q2R_1 in Q. unfold real in *. cbn [fst snd] in *.
  rewrite zsum_R in Q. rewrite sum_scal_r. exact Q.
- unfold one_hot. apply (sum_single K k (fun _ => 1)); assumption.
- unfold one_hot. apply (sum_single K k (fun _ => 1)); assumption.
Qed.

(* -- scales and shifts -- *)

Definition shift_of (r s : nat) (own : bool) : Q :=
  match l with
  | LogitAdjusted _ shifts => rational (nth s shifts (0, 0)%Z)
  | LabelMargins margins => if own then (- rational (nth r margins (0, 0)%Z))%Q else 0%Q
  | _ => 0%Q
  end.

Lemma scale_R j : (j < K)%nat -> scale l j = Q2R (scale_of l (run_of ms j)) /\ 0 < scale l j.
Proof.
intros L. unfold scale, scale_of. destruct l eqn:E; try (rewrite Q2R_1; split; lra).
assert (A : alike l = false) by (rewrite E; reflexivity). rewrite !singles by assumption. rewrite rational_real. split; [reflexivity|].
destruct valid_parts as [_ [_ [_ [_ [_ T]]]]]. rewrite E in T. cbn [targets_fit] in T. rewrite (singles_length A) in L.
pose proof (all_true _ _ T j L) as Q. cbv beta in Q. apply Qpos in Q. cbn [scale_of] in Q. rewrite rational_real in Q. exact Q.
Qed.

Lemma shift_R k j : (k < K)%nat -> (j < K)%nat -> shift l k j = Q2R (shift_of (run_of ms k) (run_of ms j) (j =? k)%nat).
Proof.
intros Lk Lj. unfold shift, shift_of. destruct l eqn:E; try (symmetry; apply Q2R_0).
- assert (A : alike l = false) by (rewrite E; reflexivity). rewrite !singles by assumption. symmetry. apply rational_real.
- assert (A : alike l = false) by (rewrite E; reflexivity). rewrite !singles by assumption. unfold one_hot.
  destruct (j =? k)%nat; [rewrite Q2R_opp, rational_real|rewrite Q2R_0]; ring.
Qed.

Lemma fed_alike k z j : alike l = true -> fed l k z j = z j.
Proof. intros A. unfold fed, scale, shift. destruct l; try discriminate; ring. Qed.

(* -- columns that are alike on runs: v_kj = b r s at another class of run s, o r at the class itself ------------------- *)

Variables (b : nat -> nat -> Q) (o : nat -> Q).
Definition column (k j : nat) : R := if (j =? k)%nat then Q2R (o (run_of ms k)) else Q2R (b (run_of ms k) (run_of ms j)).
(* what the conjugate is stated in: v without the scale *)
Definition shrunk (k j : nat) : R := column k j / scale l j.
Definition entry_of (r : nat) (own : bool) (s : nat) : Q := ((if own then o r else b r s) / scale_of l s)%Q.
Definition conjugate_sum (k : nat) : R := sum K (fun j => conjugate l (j =? k)%nat (target l K k j) (shrunk k j)).
Definition shift_sum (k : nat) : R := sum K (fun j => shrunk k j * shift l k j).

Lemma column_entry k j : (j < K)%nat -> shrunk k j = Q2R (entry_of (run_of ms k) (j =? k)%nat (run_of ms j)).
Proof.
intros L. unfold shrunk, column, entry_of. destruct (scale_R j L) as [E P0].
rewrite Q2R_div by (intros Z0; apply Qeq_eqR in Z0; rewrite Q2R_0, <- E in Z0; lra). rewrite E. destruct (j =? k)%nat; reflexivity.
Qed.

Lemma shrunk_alike k j : alike l = true -> shrunk k j = column k j.
Proof. intros A. unfold shrunk, scale. destruct l; try discriminate; field. Qed.

(* what shifts add to the value; there are some only where every run is one class *)
Definition shift_value : Q :=
  if alike l then 0%Q
  else qsum n (fun r => share P r * qsum n (fun s => entry_of r (s =? r)%nat s * shift_of r s (s =? r)%nat))%Q.
Lemma shift_value_R : sum K (fun k => pt (samples P) (weight P) (all_samples P) k * shift_sum k) = Q2R shift_value.
Proof.
unfold shift_value. destruct (alike l) eqn:A.
- rewrite Q2R_0. rewrite (sum_ext K _ (fun _ => 0)), sum_0; [reflexivity|]. intros k _. unfold shift_sum.
  rewrite (sum_ext K _ (fun _ => 0)), sum_0; [ring|]. intros j _. unfold shift. destruct l; try discriminate; ring.
- rewrite qsum_R, <- (singles_length A). apply sum_ext; intros k L. rewrite Q2R_mult, share_R, (singles A k L) by assumption. f_equal.
  rewrite qsum_R. apply sum_ext; intros j Lj. rewrite column_entry, shift_R, Q2R_mult, (singles A k L), (singles A j Lj) by assumption. reflexivity.
Qed.

Definition value (prec : precision) (c : nat -> I.type) : I.type :=
  isum prec n (fun r => if (count P r =? 0)%Z then iz prec 0
    else imul prec (iq prec (inject_Z (- nth r ms 0%Z) * share P r)) (c r)).

(* -- decays behind the point: those of the problem or, for norm bounds, given ones, a/N and b/N, which cost something -- *)

Variable spent : dyadic * dyadic.
Definition decay_w : Q := match sizes_of P with Decays lw _ => rational lw | Radii _ _ => (rational (fst spent) * over (population P))%Q end.
Definition decay_h : Q := match sizes_of P with Decays _ lh => rational lh | Radii _ _ => (rational (snd spent) * over (population P))%Q end.
Definition unit_square (r : nat) : Q := match sizes_of P with Decays _ _ => inject_Z (count P r) | Radii _ _ => 1%Q end.
Definition spending : bool := Qle_bool 0 (rational (fst spent)) && Qle_bool 0 (rational (snd spent)).
Definition price : Q :=
  match sizes_of P with
  | Decays _ _ => 0%Q
  | Radii ew eh => ((decay_w * rational ew + decay_h * rational eh) * inject_Z (K_of P) * (1 # 2))%Q
  end.

Lemma decays_ge0 : spending = true -> 0 <= Q2R decay_w /\ 0 <= Q2R decay_h.
Proof.
intros S. apply andb_prop in S as [S1 S2]. apply Qle_R in S1, S2. rewrite Q2R_0 in S1, S2.
destruct valid_parts as [_ [_ [D [_ [N0 _]]]]]. assert (0 <= / IZR (population P)) by (left; apply Rinv_0_lt_compat, IZR_lt, N0).
unfold decay_w, decay_h. destruct (sizes_of P).
- rewrite !rational_real. lra.
- rewrite !Q2R_mult, !over_R by assumption. split; apply Rmult_le_pos; assumption.
Qed.

(* -- the column sums of U, which a bias sees -- *)

Definition pull (t : nat) : Q :=
  (qsum n (fun r => inject_Z (nth r ms 0%Z) * (share P r * b r t)) + share P t * (o t - b t t))%Q.
Lemma pull_R j : (j < K)%nat -> sum K (fun k => pt (samples P) (weight P) (all_samples P) k * column k j) = Q2R (pull (run_of ms j)).
Proof.
intros L. set (t := run_of ms j). rewrite (sum_ext K _ (fun k => if (k =? j)%nat then Q2R (share P (run_of ms k)) * Q2R (o (run_of ms k))
  else (fun r => Q2R (share P r) * Q2R (b r t)) (run_of ms k))).
- rewrite (sum_others K j (fun k => Q2R (share P (run_of ms k)) * Q2R (o (run_of ms k)))
    (fun k => (fun r => Q2R (share P r) * Q2R (b r t)) (run_of ms k)) L).
  rewrite classes_K, (sum_classes ms (fun r => Q2R (share P r) * Q2R (b r t)) ms_pos). unfold pull. rewrite Q2R_plus, qsum_R, Q2R_mult, Q2R_minus.
  f_equal; [|unfold t; ring]. apply sum_ext; intros r _. rewrite !Q2R_mult, Q2R_IZR. reflexivity.
- intros k Lk. rewrite share_R by assumption. unfold column. rewrite (Nat.eqb_sym j k). destruct (k =? j)%nat; reflexivity.
Qed.

Definition bias_fits : bool := match bias_of P with FreeBias => all n (fun t => Qeq_bool (pull t) 0) | _ => true end.
Definition bias_price (prec : precision) : I.type :=
  match bias_of P with
  | PenalisedBias lb => isum prec n (fun t => let i := iq prec (pull t) in
      imul prec (iz prec (nth t ms 0%Z)) (imul prec (imul prec i i) (iq prec ((1 # 2) / rational lb))))
  | _ => iz prec 0
  end.

Lemma bias_term (bb : nat -> R) prec : bias_fits = true -> (bias_of P = NoBias -> forall j, bb j = 0) ->
  exists c, holds (bias_price prec) c /\
  - c <= sum K (fun k => pt (samples P) (weight P) (all_samples P) k * sum K (fun j => column k j * bb j))
         + match bias_of P with PenalisedBias lb => real lb / 2 * square K bb | _ => 0 end.
Proof.
intros BF NB. set (pts := pt (samples P) (weight P) (all_samples P)).
assert (E : sum K (fun k => pts k * sum K (fun j => column k j * bb j)) = sum K (fun j => Q2R (pull (run_of ms j)) * bb j)).
{ transitivity (sum K (fun k => sum K (fun j => pts k * column k j * bb j))).
  - apply sum_ext; intros k _. rewrite <- sum_scal. apply sum_ext; intros; ring.
  - rewrite sum_swap. apply sum_ext; intros j L. rewrite sum_scal_r. unfold pts. rewrite pull_R by assumption. reflexivity. }
rewrite E. unfold bias_price, bias_fits in *. destruct valid_parts as [_ [_ [_ [LB _]]]]. destruct (bias_of P) as [| |lb].
- exists 0. split; [apply iz_holds|]. rewrite (sum_ext K _ (fun _ => 0)), sum_0 by (intros j _; rewrite NB by reflexivity; ring). lra.
- exists 0. split; [apply iz_holds|]. rewrite (sum_ext K _ (fun _ => 0)), sum_0; [lra|]. intros j L.
  pose proof (all_true _ _ BF _ (run_of_lt ms j ms_pos L)) as Z. apply Qeq_bool_iff, Qeq_eqR in Z. rewrite Z, Q2R_0. ring.
- exists (sum n (fun t => size ms t * (Q2R (pull t) * Q2R (pull t) * Q2R ((1 # 2) / rational lb)))). split.
  + apply isum_holds; intros t _. cbv zeta. apply imul_holds; [apply iz_holds|]. apply imul_holds; [apply imul_holds; apply iq_holds|apply iq_holds].
  + rewrite <- (sum_classes ms (fun t => Q2R (pull t) * Q2R (pull t) * Q2R ((1 # 2) / rational lb)) ms_pos), <- classes_K.
    assert (LBQ : Q2R ((1 # 2) / rational lb) = / (2 * real lb)).
    { rewrite Q2R_div; [|intros Z0; apply Qeq_eqR in Z0; rewrite rational_real, Q2R_0 in Z0; lra].
      rewrite rational_real. replace (Q2R (1 # 2)) with (/ 2) by (unfold Q2R; cbn; lra). field. lra. }
    rewrite LBQ. unfold square.
    assert (G : 0 <= sum K (fun j => (real lb * bb j + Q2R (pull (run_of ms j))) ^ 2 * / (2 * real lb))).
    { apply sum_ge0; intros. apply Rmult_le_pos; [apply pow2_ge_0|left; apply Rinv_0_lt_compat; lra]. }
    rewrite (sum_ext K _ (fun j => Q2R (pull (run_of ms j)) * bb j + real lb / 2 * bb j ^ 2
      + Q2R (pull (run_of ms j)) * Q2R (pull (run_of ms j)) * / (2 * real lb))) in G by (intros; field; lra).
    rewrite !sum_plus, sum_scal in G. lra.
Qed.

(* -- what the sizes of W and H leave -- *)

Lemma sizes_term d W H bb : spending = true -> admissible P d W H bb ->
  - Q2R price <= match sizes_of P with
    | Decays lw lh => real lw / 2 * W_square P d W + real lh / 2 * sum K (H_squares P d H)
    | Radii _ _ => 0 end
  - Q2R decay_w / 2 * sum K (fun j => square d (W j))
  - Q2R decay_h / 2 * sum K (fun k => Q2R (unit_square (run_of ms k)) * square d (fun a => Duality.mean (samples P) H a k)).
Proof.
intros SP [_ [_ [AD _]]]. pose proof (decays_ge0 SP) as [DW DH]. fold (W_square P d W).
destruct valid_parts as [_ [F [D _]]]. unfold price, unit_square, decay_w, decay_h in *. destruct (sizes_of P) as [lw lh|ew eh].
- rewrite Q2R_0, !rational_real.
  assert (Q : sum K (fun k => Q2R (inject_Z (count P (run_of ms k))) * square d (fun a => Duality.mean (samples P) H a k)) <= sum K (H_squares P d H)).
  { apply sum_le; intros k L. rewrite Q2R_IZR, <- samples_R by assumption. apply mean_squares. }
  apply (Rmult_le_compat_l (real lh / 2)) in Q; [|lra]. lra.
- destruct AD as [AW AH].
  assert (Q : sum K (fun k => Q2R 1 * square d (fun a => Duality.mean (samples P) H a k)) <= INR K * real eh).
  { apply Rle_trans with (2 := AH). apply sum_le; intros k L. rewrite Q2R_1, Rmult_1_l. unfold H_squares.
    assert (P0 : 0 < INR (samples P k)) by (rewrite samples_R by assumption; apply IZR_lt, D, run_of_lt; [apply ms_pos|exact L]).
    apply Rmult_le_reg_l with (INR (samples P k)); [assumption|].
    apply Rle_trans with (1 := mean_squares d (samples P) H k). right. field. lra. }
  set (dw := Q2R (rational (fst spent) * over (population P))) in *. set (dh := Q2R (rational (snd spent) * over (population P))) in *.
  assert (PR : Q2R ((rational (fst spent) * over (population P) * rational ew + rational (snd spent) * over (population P) * rational eh)
      * inject_Z (K_of P) * (1 # 2)) = (dw * real ew + dh * real eh) * INR K / 2).
  { rewrite Q2R_mult, Q2R_mult, Q2R_plus, (Q2R_mult _ (rational ew)), (Q2R_mult _ (rational eh)), Q2R_IZR, INR_K, !rational_real.
    fold dw dh. replace (Q2R (1 # 2)) with (/ 2) by (unfold Q2R; cbn; lra). unfold Rdiv. ring. }
  rewrite PR. apply (Rmult_le_compat_l (dw / 2)) in AW; [|lra]. apply (Rmult_le_compat_l (dh / 2)) in Q; [|lra]. lra.
Qed.

Theorem lower_by_columns prec (c : nat -> I.type) (x : dyadic) :
  (forall k, (k < K)%nat -> (0 < count P (run_of ms k))%Z -> holds (c (run_of ms k)) (conjugate_sum k)
     /\ (forall j, (j < K)%nat -> domain l (j =? k)%nat (target l K k j) (shrunk k j))
     /\ (tied l = true -> sum K (shrunk k) = 0)) ->
  spending = true -> bias_fits = true ->
  slack K (samples P) (weight P) (fun k => Q2R (unit_square (run_of ms k))) (all_samples P) (Q2R decay_w) (Q2R decay_h) (nonnegative P) column ->
  at_least prec (rational x) (isub prec (isub prec (value prec c) (iq prec (price - shift_value))) (bias_price prec)) = true -> lower_bound P x.
Proof.
intros C SP BF S V d W H bb AD. pose proof AD as [H0 [_ [_ NB]]]. destruct valid_parts as [_ [F [LWH _]]].
assert (FY : forall k z, (k < K)%nat -> (0 < samples P k)%nat ->
  sum K (fun j => column k j * z j) - (conjugate_sum k - shift_sum k) <= loss_value l K k z).
{ intros k z L N. assert (N' : (0 < count P (run_of ms k))%Z) by (apply lt_INR in N; rewrite samples_R in N by assumption; apply lt_IZR, N).
  destruct (C k L N') as [_ [D T]].
  pose proof (fenchel_young l K k (shrunk k) (fed l k z) L D T (target_sum k L)) as Y. rewrite <- plain in Y. fold (conjugate_sum k) in Y.
  enough (X : sum K (fun j => shrunk k j * fed l k z j) = sum K (fun j => column k j * z j) + shift_sum k) by lra.
  unfold shift_sum. rewrite <- sum_plus. apply sum_ext; intros j Lj. destruct (scale_R j Lj) as [_ P0]. unfold fed, shrunk. field. lra. }
assert (US : forall k, (k < K)%nat -> 0 <= Q2R (unit_square (run_of ms k))).
{ intros k L. unfold unit_square. destruct (sizes_of P); [rewrite Q2R_IZR, <- samples_R by assumption; apply pos_INR|rewrite Q2R_1; lra]. }
pose proof (weak_duality K d (samples P) (weight P) (fun k => Q2R (unit_square (run_of ms k))) (all_samples P) _ _ (nonnegative P)
  (loss_value l K) column (fun k => conjugate_sum k - shift_sum k) population_pos (proj1 (decays_ge0 SP)) (proj2 (decays_ge0 SP))
  (fun k L => Rlt_le _ _ (weight_pos k L)) US FY S W H bb H0) as D.
pose proof (sizes_term d W H bb SP AD) as DS.
assert (NB' : bias_of P = NoBias -> forall j, bb j = 0) by (intros E; rewrite E in NB; exact NB).
destruct (bias_term bb prec BF NB') as [bp [BH BT]].
assert (SH : sum K (fun k => pt (samples P) (weight P) (all_samples P) k * (conjugate_sum k - shift_sum k))
  = sum K (fun k => pt (samples P) (weight P) (all_samples P) k * conjugate_sum k) - Q2R shift_value).
{ rewrite <- shift_value_R, <- sum_minus. apply sum_ext; intros; ring. }
apply Rle_trans with (- sum K (fun k => pt (samples P) (weight P) (all_samples P) k * conjugate_sum k) - Q2R (price - shift_value) - bp).
2:{ unfold objective. cbv zeta. rewrite (code_fits P), Q2R_minus. lra. }
rewrite <- rational_real. apply at_least_holds with (2 := V). apply isub_holds; [apply isub_holds; [|apply iq_holds]|exact BH]. clear V.
(* the value is constant on runs *)
set (cr := fun k => if (count P (run_of ms k) =? 0)%Z then 0 else conjugate_sum k).
assert (REP : exists g : nat -> R, forall k, (k < K)%nat -> cr k = g (run_of ms k) /\ holds (if (count P (run_of ms k) =? 0)%Z then iz prec 0 else c (run_of ms k)) (g (run_of ms k))).
{ exists (fun r => if (count P r =? 0)%Z then 0 else
    IZR 0 + (sum n (fun s => IZR (others ms r s) * conjugate l false (Q2R (target_of r s false)) (Q2R (entry_of r false s)))
      + conjugate l true (Q2R (target_of r r true)) (Q2R (entry_of r true r)))).
  intros k L. pose proof (run_of_lt ms k ms_pos L) as Lr. unfold cr. destruct (Z.eqb_spec (count P (run_of ms k)) 0) as [Z0|Z0]; [split; [reflexivity|apply iz_holds]|].
  assert (E : conjugate_sum k = sum K (fun j => conjugate l (j =? k)%nat
      (Q2R (target_of (run_of ms k) (run_of ms j) (j =? k)%nat)) (Q2R (entry_of (run_of ms k) (j =? k)%nat (run_of ms j))))).
  { apply sum_ext; intros j Lj. rewrite target_R, column_entry by assumption. reflexivity. }
  assert (E2 : conjugate_sum k = IZR 0 + (sum n (fun s => IZR (others ms (run_of ms k) s) * conjugate l false (Q2R (target_of (run_of ms k) s false)) (Q2R (entry_of (run_of ms k) false s)))
      + conjugate l true (Q2R (target_of (run_of ms k) (run_of ms k) true)) (Q2R (entry_of (run_of ms k) true (run_of ms k))))).
  { rewrite E. set (g := fun own s => conjugate l own (Q2R (target_of (run_of ms k) s own)) (Q2R (entry_of (run_of ms k) own s))).
    change (sum K (fun j => g (j =? k)%nat (run_of ms j)) = 0 + (sum n (fun s => IZR (others ms (run_of ms k) s) * g false s) + g true (run_of ms k))).
    rewrite (sum_ext _ _ (fun j => if (j =? k)%nat then g true (run_of ms j) else g false (run_of ms j)))
      by (intros j _; destruct (j =? k)%nat; reflexivity).
    rewrite sum_others by assumption. rewrite classes_K, (sum_classes ms (g false) ms_pos).
    rewrite (sum_ext n (fun s => IZR (others ms (run_of ms k) s) * g false s)
      (fun s => size ms s * g false s - (if (s =? run_of ms k)%nat then g false s else 0))).
    - rewrite sum_minus, sum_single by assumption. ring.
    - intros s _. unfold others. rewrite minus_IZR. unfold size. destruct (s =? run_of ms k)%nat; ring. }
  split; [exact E2|]. rewrite <- E2. apply C; [assumption|]. destruct (F _ Lr). lia. }
destruct REP as [g REP].
assert (E : - sum K (fun k => pt (samples P) (weight P) (all_samples P) k * conjugate_sum k)
  = sum n (fun r => if (count P r =? 0)%Z then 0 else Q2R (inject_Z (- nth r ms 0%Z) * share P r) * g r)).
{ transitivity (sum K (fun k => (fun r => if (count P r =? 0)%Z then 0 else - (Q2R (share P r) * g r)) (run_of ms k))).
  - replace (- sum K (fun k => pt (samples P) (weight P) (all_samples P) k * conjugate_sum k))
      with (sum K (fun k => -1 * (pt (samples P) (weight P) (all_samples P) k * conjugate_sum k))) by (rewrite sum_scal; ring).
    apply sum_ext; intros k L. cbv beta. rewrite share_R by assumption. destruct (REP k L) as [E _]. rewrite <- E. unfold cr.
    destruct (Z.eqb_spec (count P (run_of ms k)) 0) as [Z0|_]; [|ring].
    unfold share. rewrite Z0, !Q2R_mult, Q2R_IZR. ring.
  - rewrite classes_K, (sum_classes ms (fun r => if (count P r =? 0)%Z then 0 else - (Q2R (share P r) * g r)) ms_pos). apply sum_ext; intros r _.
    destruct (count P r =? 0)%Z; [ring|]. rewrite Q2R_mult, Q2R_IZR, opp_IZR. unfold size. ring. }
rewrite E. apply isum_holds; intros r Lr.
assert (EX : exists k, (k < K)%nat /\ run_of ms k = r).
{ exact (run_inhabited ms r ms_pos Lr). }
destruct EX as [k [L <-]]. destruct (REP k L) as [_ HR]. destruct (count P (run_of ms k) =? 0)%Z; [apply iz_holds|].
apply imul_holds; [apply iq_holds|exact HR].
Qed.
End Valid.
