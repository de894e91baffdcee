(* The objective of given W, H and b, enclosed, and how far it is from the optimum. *)
From Coq Require Import Reals List ZArith QArith Qreals Lia Lra.
From UFM Require Import Model Sums Duality Losses Compute Lower Logits Rows Upper.
Import ListNotations.
Open Scope R_scope.

Definition encloses (P : problem) d W H b (low high : dyadic) : Prop :=
  admissible P d W H b /\ real low <= objective P d W H b <= real high.

Section Candidate.
(* features by classes, sample by sample; or, where alike says so, the first of each class for all of its samples *)
Variables (prec : precision) (P : coded) (alike_samples : bool) (eW eH eb : Z) (rowsW : list (list Z)) (rowsH : list (list (list Z))).
Variables (bs : list Z) (dim : nat) (low high : dyadic).
Notation ms := (multiplicities P).
Notation K := (classes P).
Notation l := (code_of P).
Definition row (k i : nat) : list Z := nth (if alike_samples then O else i) (nth k rowsH []) [].
Definition at_W (j : nat) : nat -> R := vector eW (nth j rowsW []).
Definition at_H (k i : nat) : nat -> R := vector eH (row k i).
Notation n k := (count P (run_of ms k)).

(* the sum over the samples of a class, each once or one for all *)
Definition isamples (k : nat) (f : nat -> I.type) : I.type :=
  if (n k =? 0)%Z then iz prec 0 else if alike_samples then imul prec (iz prec (n k)) (f O) else isum prec (samples P k) f.
Definition zsamples (k : nat) (f : nat -> Z) : Z := if alike_samples then (n k * f O)%Z else zsum (samples P k) f.
Definition H_sum : Q := (inject_Z (zsum K (fun k => zsamples k (fun i => squares (row k i)))) * rational (1%Z, (2 * eH)%Z))%Q.
Definition W_sum : Q := (inject_Z (zsum K (fun j => squares (nth j rowsW []))) * rational (1%Z, (2 * eW)%Z))%Q.
Definition penalties : Q :=
  (match sizes_of P with Decays lw lh => rational lw * (1 # 2) * W_sum + rational lh * (1 # 2) * H_sum | Radii _ _ => 0 end
   + match bias_of P with PenalisedBias lb => rational lb * (1 # 2) * b_total P eb bs | _ => 0 end)%Q.
Definition candidate_value : I.type :=
  iadd prec (isum prec K (fun k => imul prec (iq prec (weight_of P (run_of ms k) * over (population P)))
      (isamples k (fun i => iloss prec l (column_at P eW eH eb rowsW bs k (row k i))))))
    (iq prec penalties).
Definition candidate_fits : bool :=
  valid P && exact l && dimension_fits P (Z.of_nat dim)
  && match sizes_of P with Decays _ _ => true | Radii _ _ => false end
  && match bias_of P with NoBias => match bs with [] => true | _ => false end | _ => true end
  && all K (fun k => (length (nth k rowsW []) =? dim)%nat
       && all (if alike_samples then 1%nat else samples P k) (fun i => (n k =? 0)%Z || (length (row k i) =? dim)%nat))
  && (if nonnegative P then forallb (forallb (forallb (Z.leb 0))) rowsH else true).
Definition candidate_check : bool :=
  candidate_fits &&& (let v := candidate_value in at_least prec (rational low) v && at_most prec (rational high) v).

Lemma isamples_holds k f g : valid P = true -> (k < K)%nat -> (alike_samples = true -> forall i, g i = g O) ->
  ((0 < n k)%Z -> forall i, (i < if alike_samples then 1 else samples P k)%nat -> holds (f i) (g i)) ->
  holds (isamples k f) (sum (samples P k) g).
Proof.
intros ok L A E. pose proof (samples_R P ok k L) as S. unfold isamples. destruct (Z.eqb_spec (n k) 0) as [Z0|Z0].
- rewrite Z0 in S. apply (INR_eq _ 0) in S. rewrite S. apply iz_holds.
- assert (N0 : (0 < n k)%Z) by (destruct (valid_parts P ok) as [_ [F _]]; destruct (F (run_of ms k) (run_of_lt ms k (ms_pos P ok) L)); lia).
  destruct alike_samples.
  + rewrite (sum_ext _ _ (fun _ => g O)) by auto. rewrite sum_const, S. apply imul_holds; [apply iz_holds|]. apply E; [assumption|lia].
  + apply isum_holds; auto.
Qed.

Theorem candidate_sound : candidate_check = true -> encloses P dim at_W at_H (vector eb bs) low high.
Proof.
unfold candidate_check. intros H. apply lazy_prop in H as [H V]. cbv zeta in V. apply andb_prop in V as [V1 V2].
unfold candidate_fits in H. apply andb_prop in H as [H NN]. apply andb_prop in H as [H LEN]. apply andb_prop in H as [H NB].
apply andb_prop in H as [H SZ]. apply andb_prop in H as [H FD]. apply andb_prop in H as [ok EX].
pose proof (all_true _ _ LEN) as LEN'. cbv beta in LEN'. clear LEN. pose proof (ms_pos P ok) as MP.
assert (LW : forall j, (j < K)%nat -> length (nth j rowsW []) = dim).
{ intros j L. specialize (LEN' j L). apply andb_prop in LEN' as [A _]. apply Nat.eqb_eq, A. }
assert (LH : forall k i, (k < K)%nat -> (i < samples P k)%nat -> length (row k i) = dim).
{ intros k i L Li. specialize (LEN' k L). apply andb_prop in LEN' as [_ A]. pose proof (samples_R P ok k L) as S.
  assert (N0 : n k <> 0%Z) by (intros Z0; rewrite Z0 in S; apply (INR_eq _ 0) in S; lia).
  pose proof (all_true _ _ A (if alike_samples then O else i) ltac:(destruct alike_samples; lia)) as B. cbv beta in B.
  apply orb_prop in B as [B|B]; [apply Z.eqb_eq in B; contradiction|]. apply Nat.eqb_eq in B. rewrite <- B. unfold row. destruct alike_samples; reflexivity. }
assert (ROW : alike_samples = true -> forall k i, row k i = row k O) by (intros E k i; unfold row; rewrite E; reflexivity).
split.
{ split; [|split; [|split]].
  - intros N k i a. unfold at_H. apply vector_ge0. rewrite N in NN. unfold row. rewrite forallb_forall in NN.
    destruct (nth_in_or_default k rowsH []) as [I| ->]; [|destruct (if alike_samples then O else i), a; simpl; lia].
    specialize (NN _ I). rewrite forallb_forall in NN.
    destruct (nth_in_or_default (if alike_samples then O else i) (nth k rowsH []) []) as [J| ->]; [|destruct a; simpl; lia].
    specialize (NN _ J). rewrite forallb_forall in NN.
    destruct (nth_in_or_default a (nth (if alike_samples then O else i) (nth k rowsH []) []) 0%Z) as [M| ->]; [apply Z.leb_le, NN, M|lia].
  - unfold dimension_fits in FD. destruct (feature_dim P); [apply Z.leb_le, FD|exact Logic.I].
  - destruct (sizes_of P); [exact Logic.I|discriminate].
  - destruct (bias_of P); try exact Logic.I. destruct bs; [|discriminate]. apply vector_nil. }
assert (HALF : Q2R (1 # 2) = / 2) by (unfold Q2R; cbn; lra).
assert (WT : W_square P dim at_W = Q2R W_sum).
{ unfold W_sum, W_square. rewrite Q2R_mult, Q2R_IZR, rational_real, zsum_R, <- sum_scal_r. apply sum_ext; intros j L. apply vector_square; auto. }
assert (HT : sum K (H_squares P dim at_H) = Q2R H_sum).
{ unfold H_sum. rewrite Q2R_mult, Q2R_IZR, rational_real, zsum_R, <- sum_scal_r. apply sum_ext; intros k L. unfold H_squares, zsamples.
  rewrite (sum_ext _ _ (fun i => IZR (squares (row k i)) * real (1%Z, (2 * eH)%Z))) by (intros i Li; apply vector_square; auto).
  rewrite sum_scal_r. f_equal. destruct alike_samples eqn:E.
  - rewrite (sum_ext _ _ (fun _ => IZR (squares (row k O)))) by (intros i _; rewrite (ROW eq_refl); reflexivity).
    rewrite sum_const, mult_IZR, (samples_R P ok k L). reflexivity.
  - rewrite zsum_R. reflexivity. }
assert (VAL : holds candidate_value (objective P dim at_W at_H (vector eb bs))).
{ unfold objective, candidate_value. cbv zeta. rewrite (code_fits P), Rplus_assoc. apply iadd_holds.
  - unfold Rdiv. rewrite <- sum_scal_r. apply isum_holds; intros k L.
    set (f := fun i => loss_value l K k (logits dim at_W (at_H k i) (vector eb bs))).
    replace (weight P k * sum (samples P k) f * / all_samples P) with (Q2R (weight_of P (run_of ms k) * over (population P)) * sum (samples P k) f).
    + apply imul_holds; [apply iq_holds|]. apply isamples_holds; try assumption.
      * intros E i. unfold f, at_H. rewrite ROW by assumption. reflexivity.
      * intros N0 i Li. assert (Li' : (i < samples P k)%nat).
        { destruct alike_samples; [|exact Li]. assert (0 < samples P k)%nat; [|lia]. apply INR_lt. rewrite (samples_R P ok) by assumption. apply IZR_lt. exact N0. }
        unfold f. rewrite plain. destruct (iloss_bound prec l (column_at P eW eH eb rowsW bs k (row k i)) K k
          (fed l k (logits dim at_W (at_H k i) (vector eb bs))) L) as [Y1 [_ Y2]]; [apply column_stands; auto|]. rewrite (Y2 EX). exact Y1.
    + rewrite Q2R_mult, over_R, <- weight_R, <- (all_samples_R P ok) by apply (valid_parts P ok). ring.
  - replace (_ + _) with (Q2R penalties); [apply iq_holds|]. unfold penalties. rewrite Q2R_plus. f_equal.
    + destruct (sizes_of P); [|discriminate]. rewrite Q2R_plus, !(Q2R_mult (_ * _)), !(Q2R_mult (rational _)), HALF, !rational_real, WT, HT. reflexivity.
    + destruct (bias_of P); try apply Q2R_0. rewrite !Q2R_mult, HALF, rational_real, <- b_square. reflexivity. }
rewrite <- (rational_real low), <- (rational_real high). split; [apply (at_least_holds prec) with (1 := VAL), V1|apply (at_most_holds prec) with (1 := VAL), V2].
Qed.
End Candidate.

(* -- the gap: what an enclosed objective exceeds the optimum by ------------------------------------------------------------ *)

Definition gap_encloses (P : problem) d W H b (low high : dyadic) : Prop :=
  (exists d' W' H' b', admissible P d' W' H' b' /\ real low <= objective P d W H b - objective P d' W' H' b')
  /\ forall d' W' H' b', admissible P d' W' H' b' -> objective P d W H b - objective P d' W' H' b' <= real high.
Definition gap_check (lower upper low high gap_low gap_high : dyadic) : bool :=
  (Qle_bool (rational gap_low) 0 || Qle_bool (rational gap_low) (rational low - rational upper))
  && Qle_bool (rational high - rational lower) (rational gap_high).

Theorem gap_sound P d W H b lower upper low high gap_low gap_high : lower_bound P lower -> upper_bound P upper ->
  encloses P d W H b low high -> gap_check lower upper low high gap_low gap_high = true -> gap_encloses P d W H b gap_low gap_high.
Proof.
intros LB [d' [W' [H' [b' [A U]]]]] [AC [C1 C2]] G. apply andb_prop in G as [G1 G2].
apply Qle_R in G2. rewrite Q2R_minus, !rational_real in G2. split.
- apply orb_prop in G1 as [G1|G1]; apply Qle_R in G1.
  + exists d, W, H, b. split; [exact AC|]. rewrite rational_real, Q2R_0 in G1. lra.
  + exists d', W', H', b'. split; [exact A|]. rewrite Q2R_minus, !rational_real in G1. lra.
- intros d2 W2 H2 b2 A2. specialize (LB d2 W2 H2 b2 A2). lra.
Qed.
