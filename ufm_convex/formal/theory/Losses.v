(* The inequality of Fenchel and Young for every loss of Model.v; conjugates are sums over entries. *)
From Coq Require Import Reals List ZArith Lia Lra FunctionalExtensionality.
From UFM Require Import Model Sums.
Open Scope R_scope.

Inductive loss := CrossEntropy (smoothing : dyadic) | SoftTargets (exponent : Z) (targets : list (list Z))
  | LogitAdjusted (scale shift : list dyadic) | LabelMargins (margins : list dyadic)
  | SquaredError | BinaryCrossEntropy | CrammerSinger | WestonWatkins | SquaredHinge.
Definition loss_value (l : loss) : nat -> nat -> (nat -> R) -> R :=
  match l with
  | CrossEntropy a => cross_entropy a | SoftTargets e rows => soft_targets e rows
  | LogitAdjusted scale shift => logit_adjusted scale shift | LabelMargins margins => label_margins margins
  | SquaredError => squared_error
  | BinaryCrossEntropy => binary_cross_entropy | CrammerSinger => crammer_singer | WestonWatkins => weston_watkins
  | SquaredHinge => squared_hinge
  end.

(* a problem with a name of its loss that computations can ask for *)
Record coded := Coded { model :> problem; code_of : loss; code_fits : loss_of model = loss_value code_of }.

Definition plogp (p : R) : R := p * ln p.   (* 0 at 0 because of the factor *)

Lemma ln_le_sub (x : R) : 0 < x -> ln x <= x - 1.
Proof. intros H. pose proof (exp_ineq1_le (ln x)) as L. rewrite exp_ln in L by assumption. lra. Qed.

(* one term: p z - p ln p <= p ln S + exp z / S - p *)
Lemma softmax_term p z S : 0 <= p -> 0 < S -> p * z - plogp p <= p * ln S + exp z / S - p.
Proof.
intros [P|<-] HS; unfold plogp.
- assert (Q : 0 < exp z / S / p) by (repeat apply Rdiv_lt_0_compat; auto using exp_pos).
  pose proof (ln_le_sub _ Q) as L.
  assert (E : ln (exp z / S / p) = z - ln S - ln p).
  { unfold Rdiv. rewrite !ln_mult, !ln_Rinv, ln_exp; auto using exp_pos, Rinv_0_lt_compat, Rmult_lt_0_compat. }
  rewrite E in L. apply (Rmult_le_compat_l p) in L; [|lra].
  replace (p * (exp z / S / p - 1)) with (exp z / S - p) in L by (field; lra). lra.
- assert (0 < exp z / S) by (apply Rdiv_lt_0_compat; auto using exp_pos). lra.
Qed.

Lemma exps_pos K z : (0 < K)%nat -> 0 < sum K (fun j => exp (z j)).
Proof.
destruct K; [lia|intros _]. cbn [sum]. assert (0 <= sum K (fun j => exp (z j))).
{ apply sum_ge0; intros; left; apply exp_pos. } pose proof (exp_pos (z K)); lra.
Qed.

Theorem softmax_fenchel_young K p z : (0 < K)%nat -> (forall j, (j < K)%nat -> 0 <= p j) -> sum K p = 1 ->
  sum K (fun j => p j * z j) - sum K (fun j => plogp (p j)) <= ln (sum K (fun j => exp (z j))).
Proof.
intros K0 P M. pose proof (exps_pos K z K0) as HS. set (S := sum K (fun j => exp (z j))) in *.
apply Rle_trans with (sum K (fun j => p j * ln S + exp (z j) / S - p j)).
- rewrite <- sum_minus. apply sum_le; intros; apply softmax_term; auto.
- rewrite sum_minus, sum_plus, sum_scal_r, M. unfold Rdiv. rewrite sum_scal_r. fold S. right; field; lra.
Qed.

(* -- the losses, from logits that are scaled and shifted first ------------------------------------------------------------ *)

Definition softmax (l : loss) : bool :=
  match l with CrossEntropy _ | SoftTargets _ _ | LogitAdjusted _ _ | LabelMargins _ => true | _ => false end.
(* every class is treated as every other, and nothing is scaled or shifted *)
Definition alike (l : loss) : bool :=
  match l with SoftTargets _ _ | LogitAdjusted _ _ | LabelMargins _ => false | _ => true end.

Definition target (l : loss) (K k j : nat) : R :=
  match l with
  | CrossEntropy a => (1 - real a) * one_hot k j + real a / INR K
  | SoftTargets e rows => real (nth j (nth k rows nil) 0%Z, e)
  | LogitAdjusted _ _ | LabelMargins _ => one_hot k j
  | _ => 0
  end.
Definition scale (l : loss) (j : nat) : R :=
  match l with LogitAdjusted scales _ => real (nth j scales (1, 0)%Z) | _ => 1 end.
Definition shift (l : loss) (k j : nat) : R :=
  match l with
  | LogitAdjusted _ shifts => real (nth j shifts (0, 0)%Z)
  | LabelMargins margins => - real (nth k margins (0, 0)%Z) * one_hot k j
  | _ => 0
  end.
Definition fed (l : loss) (k : nat) (z : nat -> R) (j : nat) : R := scale l j * z j + shift l k j.

Definition plain_value (l : loss) (K k : nat) (x : nat -> R) : R :=
  match l with
  | CrossEntropy _ | SoftTargets _ _ | LogitAdjusted _ _ | LabelMargins _ => softmax_loss K (target l K k) x
  | SquaredError => squared_error K k x
  | BinaryCrossEntropy => binary_cross_entropy K k x
  | CrammerSinger => crammer_singer K k x
  | WestonWatkins => weston_watkins K k x
  | SquaredHinge => squared_hinge K k x
  end.

Lemma plain l K k z : loss_value l K k z = plain_value l K k (fed l k z).
Proof.
assert (E : forall f g : nat -> R, (forall j, f j = g j) -> f = g) by (intros; apply functional_extensionality; assumption).
destruct l; cbn [loss_value plain_value]; 
  try (match goal with |- context[fed ?l k z] => replace (fed l k z) with z by (apply E; intros j; unfold fed, scale, shift; ring) end);
  try reflexivity.
unfold label_margins, target. f_equal. apply E; intros j. unfold fed, scale, shift. ring.
Qed.

(* -- conjugates, entry by entry; own tells whether the entry is the class's own, y is the target -- *)

Definition conjugate (l : loss) (own : bool) (y v : R) : R :=
  match l with
  | CrossEntropy _ | SoftTargets _ _ | LogitAdjusted _ _ | LabelMargins _ => plogp (v + y)
  | SquaredError => v ^ 2 / 2 + (if own then v else 0)
  | BinaryCrossEntropy => let p := if own then - v else v in plogp p + plogp (1 - p)
  | CrammerSinger | WestonWatkins => if own then v else 0
  | SquaredHinge => if own then 0 else v ^ 2 / 2 - v
  end.

Definition domain (l : loss) (own : bool) (y v : R) : Prop :=
  match l with
  | CrossEntropy _ | SoftTargets _ _ | LogitAdjusted _ _ | LabelMargins _ => 0 <= v + y
  | SquaredError => True
  | BinaryCrossEntropy => let p := if own then - v else v in 0 <= p <= 1
  | CrammerSinger => if own then -1 <= v else 0 <= v
  | WestonWatkins => if own then True else 0 <= v <= 1
  | SquaredHinge => if own then True else 0 <= v
  end.

Definition tied (l : loss) : bool := match l with SquaredError | BinaryCrossEntropy => false | _ => true end.

Lemma own_entry K k (f : nat -> R) : (k < K)%nat -> sum K (fun j => if (j =? k)%nat then f j else 0) = f k.
Proof. apply sum_single. Qed.

(* tied residuals see differences alone *)
Lemma tied_sum K k v z : (k < K)%nat -> sum K v = 0 ->
  sum K (fun j => v j * z j) = sum K (fun j => if (j =? k)%nat then 0 else v j * (z j - z k)).
Proof.
intros L T. transitivity (sum K (fun j => v j * (z j - z k))).
- transitivity (sum K (fun j => v j * z j) - sum K v * z k); [rewrite T; ring|].
  rewrite <- sum_scal_r, <- sum_minus. apply sum_ext; intros; ring.
- apply sum_ext; intros j _. destruct (Nat.eqb_spec j k) as [->|]; ring.
Qed.

(* and their own entry is what the others leave *)
Lemma tied_own K k v : (k < K)%nat -> sum K v = 0 -> sum K (fun j => if (j =? k)%nat then 0 else v j) = - v k.
Proof. intros L T. rewrite sum_others by assumption. rewrite T; lra. Qed.

Lemma tied_hinge K k v z : (k < K)%nat -> sum K v = 0 ->
  sum K (fun j => v j * z j) - v k = sum K (fun j => if (j =? k)%nat then 0 else v j * (1 + z j - z k)).
Proof.
intros L T. rewrite (tied_sum K k) by assumption. pose proof (tied_own K k v L T) as O.
replace (- v k) with (sum K (fun j => if (j =? k)%nat then 0 else v j)) by assumption.
unfold Rminus at 1. rewrite <- O, <- sum_plus. apply sum_ext; intros j _. destruct (j =? k)%nat; ring.
Qed.

Lemma hinge_ge0 k z j : 0 <= hinge k z j.
Proof. unfold hinge. destruct (j =? k)%nat; [lra|apply Rmax_l]. Qed.

Lemma hinge_ge k z j : j <> k -> 1 + z j - z k <= hinge k z j.
Proof. intros N. unfold hinge. destruct (Nat.eqb_spec j k); [contradiction|apply Rmax_r]. Qed.

Lemma largest_ge K f j : (j < K)%nat -> f j <= largest K f.
Proof.
induction K; intros L; [lia|]. cbn [largest]. destruct (Nat.eq_dec j K) as [->|]; [apply Rmax_r|].
apply Rle_trans with (largest K f); [apply IHK; lia|apply Rmax_l].
Qed.

Lemma largest_ge0 K f : 0 <= largest K f.
Proof. induction K; cbn [largest]; [lra|]. apply Rle_trans with (largest K f); [assumption|apply Rmax_l]. Qed.

Lemma sigmoid p x : 0 <= p <= 1 -> p * x - (plogp p + plogp (1 - p)) <= ln (1 + exp x).
Proof.
intros [P0 P1]. assert (S : 0 < 1 + exp x) by (pose proof (exp_pos x); lra).
pose proof (softmax_term p x (1 + exp x) P0 S) as A. assert (Q : 0 <= 1 - p) by lra.
pose proof (softmax_term (1 - p) 0 (1 + exp x) Q S) as B. rewrite exp_0, Rmult_0_r in B.
assert (exp x / (1 + exp x) + 1 / (1 + exp x) = 1) by (field; lra). lra.
Qed.

Theorem fenchel_young l K k v z : (k < K)%nat ->
  (forall j, (j < K)%nat -> domain l (j =? k)%nat (target l K k j) (v j)) ->
  (tied l = true -> sum K v = 0) -> sum K (target l K k) = (if softmax l then 1 else 0) ->
  sum K (fun j => v j * z j) - sum K (fun j => conjugate l (j =? k)%nat (target l K k j) (v j)) <= plain_value l K k z.
Proof.
intros L D T Y.
assert (SOFT : forall y, (forall j, (j < K)%nat -> 0 <= v j + y j) -> sum K v = 0 -> sum K y = 1 ->
  sum K (fun j => v j * z j) - sum K (fun j => plogp (v j + y j)) <= softmax_loss K y z).
{ intros y P V1 Y1. unfold softmax_loss. pose proof (softmax_fenchel_young K (fun j => v j + y j) z ltac:(lia) P) as F.
  rewrite sum_plus, V1, Y1 in F. specialize (F ltac:(lra)).
  rewrite (sum_ext _ _ (fun j => v j * z j + y j * z j)), sum_plus in F by (intros; ring). lra. }
destruct l; cbn [tied conjugate domain plain_value softmax] in *;
  try (match goal with |- context[target ?l] => apply (SOFT (target l K k)); auto end);
  unfold squared_error, binary_cross_entropy, crammer_singer, weston_watkins, squared_hinge.
- unfold Rdiv at 2. rewrite <- sum_scal_r, <- sum_minus. apply sum_le; intros j _. unfold one_hot.
  destruct (j =? k)%nat; [pose proof (pow2_ge_0 (z j - 1 - v j))|pose proof (pow2_ge_0 (z j - 0 - v j))]; simpl in *; nra.
- rewrite <- sum_minus. apply sum_le; intros j Hj. specialize (D j Hj). destruct (j =? k)%nat.
  + pose proof (sigmoid (- v j) (- z j) D). lra.
  + pose proof (sigmoid (v j) (z j) D). lra.
- specialize (T eq_refl). rewrite own_entry by assumption. rewrite (tied_hinge K k) by assumption.
  pose proof (D k L) as O. rewrite Nat.eqb_refl in O. pose proof (largest_ge0 K (hinge k z)) as M.
  apply Rle_trans with (sum K (fun j => if (j =? k)%nat then 0 else v j) * largest K (hinge k z)).
  + rewrite <- sum_scal_r. apply sum_le; intros j Hj. specialize (D j Hj). destruct (Nat.eqb_spec j k); [lra|].
    apply Rmult_le_compat_l; [assumption|]. apply Rle_trans with (hinge k z j); [apply hinge_ge; assumption|].
    apply largest_ge; assumption.
  + rewrite tied_own by assumption. nra.
- specialize (T eq_refl). rewrite own_entry by assumption. rewrite (tied_hinge K k) by assumption.
  apply sum_le; intros j Hj. specialize (D j Hj). pose proof (hinge_ge0 k z j) as G. pose proof (hinge_ge k z j).
  destruct (Nat.eqb_spec j k); [assumption|]. specialize (H n). nra.
- specialize (T eq_refl).
  assert (E : sum K (fun j => if (j =? k)%nat then 0 else v j ^ 2 / 2 - v j)
    = sum K (fun j => if (j =? k)%nat then 0 else v j ^ 2 / 2) + v k).
  { rewrite <- (Ropp_involutive (v k)), <- (tied_own K k v L T). fold (Rminus (sum K (fun j => if (j =? k)%nat then 0 else v j ^ 2 / 2))
      (sum K (fun j => if (j =? k)%nat then 0 else v j))). rewrite <- sum_minus. apply sum_ext; intros j _. destruct (j =? k)%nat; lra. }
  rewrite E. pose proof (tied_hinge K k v z L T) as TH.
  unfold Rdiv at 2. rewrite <- sum_scal_r.
  enough (X : sum K (fun j => if (j =? k)%nat then 0 else v j * (1 + z j - z k))
    - sum K (fun j => if (j =? k)%nat then 0 else v j ^ 2 / 2) <= sum K (fun i => hinge k z i ^ 2 * / 2)) by lra.
  rewrite <- sum_minus. apply sum_le; intros j Hj. specialize (D j Hj). pose proof (hinge_ge0 k z j) as G.
  pose proof (hinge_ge k z j). destruct (Nat.eqb_spec j k); [nra|]. specialize (H n).
  set (h := hinge k z j) in *. pose proof (pow2_ge_0 (h - v j)). nra.
Qed.
