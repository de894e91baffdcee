(* The loss of one class from its logits, enclosed. *)
From Coq Require Import Reals List ZArith QArith Qreals Qminmax Lia Lra.
From UFM Require Import Model Sums Losses Compute.
Import ListNotations.
Open Scope R_scope.

(* -- logits of one class: how many others have which target and logit, and its own ------------------------------------ *)

Definition logit_column : Type := list (Z * (Q * Q)) * (Q * Q).

Fixpoint weighted (c : list (Z * (Q * Q))) (f : Q -> Q -> R) : R :=
  match c with [] => 0 | (m, (y, z)) :: rest => IZR m * f y z + weighted rest f end.
Definition column_sum (c : logit_column) (f : bool -> R -> R -> R) : R :=
  weighted (fst c) (fun y z => f false (Q2R y) (Q2R z)) + f true (Q2R (fst (snd c))) (Q2R (snd (snd c))).

Definition stands_for (c : logit_column) (K k : nat) (y z : nat -> R) : Prop :=
  (forall f, sum K (fun j => f (j =? k)%nat (y j) (z j)) = column_sum c f)
  /\ z k = Q2R (snd (snd c))
  /\ forall j, (j < K)%nat -> j <> k -> exists m q, In (m, q) (fst c) /\ z j = Q2R (snd q).

Section Precision.
Variable prec : precision.
Notation holds := Compute.holds.

Fixpoint iweighted (c : list (Z * (Q * Q))) (f : Q -> Q -> I.type) : I.type :=
  match c with [] => iz prec 0 | (m, (y, z)) :: rest => iadd prec (imul prec (iz prec m) (f y z)) (iweighted rest f) end.
Definition icolumn_sum (c : logit_column) (f : bool -> Q -> Q -> I.type) : I.type :=
  iadd prec (iweighted (fst c) (f false)) (f true (fst (snd c)) (snd (snd c))).

Lemma icolumn_sum_holds c f g : (forall own y z, holds (f own y z) (g own (Q2R y) (Q2R z))) ->
  holds (icolumn_sum c f) (column_sum c g).
Proof.
intros E. apply iadd_holds; [|apply E]. induction (fst c) as [|[m [y z]] rest IH]; [apply iz_holds|].
apply iadd_holds; [apply imul_holds; [apply iz_holds|apply E]|exact IH].
Qed.

Definition qhinge (z own : Q) : Q := Qmax 0 (1 + z - own).
Lemma Q2R_max a b : Q2R (Qmax a b) = Rmax (Q2R a) (Q2R b).
Proof.
destruct (Qlt_le_dec a b) as [L|L].
- rewrite (Qeq_eqR _ _ (Q.max_r a b (Qlt_le_weak _ _ L))). apply Qlt_Rlt in L. rewrite Rmax_right; lra.
- rewrite (Qeq_eqR _ _ (Q.max_l a b L)). apply Qle_Rle in L. rewrite Rmax_left; lra.
Qed.
Lemma qhinge_R z own : Q2R (qhinge z own) = Rmax 0 (1 + Q2R z - Q2R own).
Proof. unfold qhinge. rewrite Q2R_max, Q2R_minus, Q2R_plus, Q2R_0, Q2R_1. reflexivity. Qed.

Fixpoint greatest (c : list (Z * (Q * Q))) (own : Q) : Q :=
  match c with [] => 0%Q | (_, (_, z)) :: rest => Qmax (greatest rest own) (qhinge z own) end.
Lemma greatest_ge0 c own : 0 <= Q2R (greatest c own).
Proof.
induction c as [|[m [y z]] rest IH]; cbn [greatest]; [rewrite Q2R_0; lra|]. rewrite Q2R_max.
apply Rle_trans with (1 := IH), Rmax_l.
Qed.
Lemma greatest_ge c own m q : In (m, q) c -> Q2R (qhinge (snd q) own) <= Q2R (greatest c own).
Proof.
induction c as [|[m' [y z]] rest IH]; intros I; [destruct I|]. cbn [greatest]. rewrite Q2R_max. destruct I as [E|I].
- injection E as <- <-. apply Rmax_r.
- apply Rle_trans with (1 := IH I), Rmax_l.
Qed.

Definition iloss (l : loss) (c : logit_column) : I.type :=
  let own_z := snd (snd c) in
  match l with
  | CrossEntropy _ | SoftTargets _ _ | LogitAdjusted _ _ | LabelMargins _ =>
      isub prec (iln prec (icolumn_sum c (fun _ _ z => iexp prec z))) (icolumn_sum c (fun _ y z => iq prec (y * z)))
  | SquaredError => imul prec (icolumn_sum c (fun own _ z => let e := (if own then z - 1 else z)%Q in iq prec (e * e))) (iq prec (1 # 2))
  | BinaryCrossEntropy => icolumn_sum c (fun own _ z => iln prec (iadd prec (iz prec 1) (iexp prec (if own then - z else z)%Q)))
  | CrammerSinger => iq prec (greatest (fst c) own_z)
  | WestonWatkins => icolumn_sum c (fun own _ z => if own then iz prec 0 else iq prec (qhinge z own_z))
  | SquaredHinge => imul prec (icolumn_sum c (fun own _ z => if own then iz prec 0 else let h := qhinge z own_z in iq prec (h * h))) (iq prec (1 # 2))
  end.

Definition loss_bound (l : loss) (c : logit_column) : R :=
  let hinges f := column_sum c (fun own _ z => if own : bool then 0 else f (Rmax 0 (1 + z - Q2R (snd (snd c))))) in
  match l with
  | CrossEntropy _ | SoftTargets _ _ | LogitAdjusted _ _ | LabelMargins _ => ln (column_sum c (fun _ _ z => exp z)) - column_sum c (fun _ y z => y * z)
  | SquaredError => column_sum c (fun own _ z => (z - if own then 1 else 0) ^ 2) * / 2
  | BinaryCrossEntropy => column_sum c (fun own _ z => ln (1 + exp (if own then - z else z)))
  | CrammerSinger => Q2R (greatest (fst c) (snd (snd c)))
  | WestonWatkins => hinges (fun h => h)
  | SquaredHinge => hinges (fun h => h ^ 2) * / 2
  end.

(* of the largest hinge, multiplicities of 0 would make it less than the bound *)
Definition exact (l : loss) : bool := match l with CrammerSinger => false | _ => true end.

Lemma iloss_bound l c K k z : (k < K)%nat -> stands_for c K k (target l K k) z ->
  holds (iloss l c) (loss_bound l c) /\ plain_value l K k z <= loss_bound l c /\ (exact l = true -> plain_value l K k z = loss_bound l c).
Proof.
intros L [ST [OWN ALL]]. enough (X : holds (iloss l c) (loss_bound l c)
  /\ if exact l then plain_value l K k z = loss_bound l c else plain_value l K k z <= loss_bound l c).
{ destruct X as [X Y]. split; [exact X|]. destruct (exact l); [split; [right; exact Y|auto]|split; [exact Y|discriminate]]. } assert (HALF : Q2R (1 # 2) = / 2) by (unfold Q2R; cbn; lra).
assert (SOFT : holds (isub prec (iln prec (icolumn_sum c (fun _ _ z => iexp prec z))) (icolumn_sum c (fun _ y z => iq prec (y * z))))
    (ln (column_sum c (fun _ _ z => exp z)) - column_sum c (fun _ y z => y * z))
  /\ softmax_loss K (target l K k) z = ln (column_sum c (fun _ _ z => exp z)) - column_sum c (fun _ y z => y * z)).
{ split.
  - apply isub_holds.
    + apply iln_holds.
      * rewrite <- (ST (fun _ _ z => exp z)). apply exps_pos; lia.
      * apply (icolumn_sum_holds c (fun _ _ z => iexp prec z) (fun _ _ z => exp z)); intros. apply iexp_holds.
    + apply (icolumn_sum_holds c (fun _ y z => iq prec (y * z)) (fun _ y z => y * z)); intros. rewrite <- Q2R_mult. apply iq_holds.
  - unfold softmax_loss. rewrite <- (ST (fun _ _ z => exp z)), <- (ST (fun _ y z => y * z)). reflexivity. }
assert (HINGE : forall j, hinge k z j = (fun own (_ z : R) => if own : bool then 0 else Rmax 0 (1 + z - Q2R (snd (snd c)))) (j =? k)%nat (target l K k j) (z j)).
{ intros j. unfold hinge. rewrite OWN. reflexivity. }
destruct l; cbn [iloss plain_value loss_bound exact]; cbv zeta; try exact SOFT;
  unfold squared_error, binary_cross_entropy, crammer_singer, weston_watkins, squared_hinge.
- split.
  + apply imul_holds; [|rewrite <- HALF; apply iq_holds]. apply icolumn_sum_holds; intros own y z0.
    set (e := (if own then z0 - 1 else z0)%Q). replace ((Q2R z0 - (if own then 1 else 0)) ^ 2) with (Q2R (e * e)); [apply iq_holds|].
    rewrite Q2R_mult. unfold e. destruct own; [rewrite Q2R_minus, Q2R_1|]; ring.
  + rewrite <- ST. unfold one_hot, Rdiv. reflexivity.
- split.
  + apply icolumn_sum_holds; intros own y z0. apply iln_holds.
    * match goal with |- 0 < 1 + exp ?a => pose proof (exp_pos a) end. lra.
    * apply iadd_holds; [apply iz_holds|]. replace (if own then - Q2R z0 else Q2R z0) with (Q2R (if own then - z0 else z0)%Q); [apply iexp_holds|].
      destruct own; [apply Q2R_opp|reflexivity].
  + rewrite <- ST. reflexivity.
- split; [apply iq_holds|].
  assert (G : forall n, (n <= K)%nat -> largest n (hinge k z) <= Q2R (greatest (fst c) (snd (snd c)))).
  { induction n; intros Ln; cbn [largest]; [apply greatest_ge0|]. apply Rmax_lub; [apply IHn; lia|].
    unfold hinge. destruct (Nat.eqb_spec n k) as [|N]; [apply greatest_ge0|].
    destruct (ALL n Ln N) as [m [q [I E]]]. rewrite E, OWN, <- qhinge_R. apply (greatest_ge _ _ m q I). }
  apply G; lia.
- split.
  + apply icolumn_sum_holds; intros own y z0. destruct own; [apply iz_holds|]. rewrite <- qhinge_R. apply iq_holds.
  + rewrite <- ST. apply sum_ext; intros j _. apply HINGE.
- split.
  + apply imul_holds; [|rewrite <- HALF; apply iq_holds]. apply icolumn_sum_holds; intros own y z0. destruct own.
    * apply iz_holds.
    * rewrite <- qhinge_R. replace (Q2R (qhinge z0 (snd (snd c))) ^ 2) with (Q2R (qhinge z0 (snd (snd c)) * qhinge z0 (snd (snd c)))) by (rewrite Q2R_mult; ring).
      apply iq_holds.
  + rewrite <- ST. unfold Rdiv. f_equal. apply sum_ext; intros j _. rewrite HINGE. destruct (j =? k)%nat; ring.
Qed.
End Precision.
